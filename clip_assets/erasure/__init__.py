"""Erases images from everywhere they are stored, and writes a receipt."""
