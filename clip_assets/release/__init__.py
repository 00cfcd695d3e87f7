"""Which index answers: publish, roll back, retire."""
