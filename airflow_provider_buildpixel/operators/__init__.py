"""The operators: start a build, download its artifact."""
