"""How the shipped models are made; the only place that opens torch and monai."""
