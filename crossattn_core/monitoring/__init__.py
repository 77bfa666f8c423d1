"""What is watched from day to day: regime, drift, how forecasts turn out, whether data is late."""
