"""The S3 protocol, sans-IO: values in, values out."""
