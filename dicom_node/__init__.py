"""The DICOM node: receiving, judging complete, sending; its tables and its scheduled steps."""
