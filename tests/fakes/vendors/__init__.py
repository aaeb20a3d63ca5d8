"""The vendors of vendor_fake.py, a file each."""
