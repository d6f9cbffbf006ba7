"""The distributed chunk cache: chunks, nodes, disks. It knows no S3 request and no HTTP client."""
