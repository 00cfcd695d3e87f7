"""Erasure of images, everywhere they are kept, with a receipt."""
