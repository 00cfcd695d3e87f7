"""Which index is live: publish, roll back, retire."""
