"""The wire: requests in, answers out, over aiohttp and a fast lane for hits."""
