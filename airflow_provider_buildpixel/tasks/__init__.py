"""What operators and sensors share: dispatch, state kept over tries, deferral, reporting."""
