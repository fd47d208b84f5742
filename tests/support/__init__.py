"""What several tests lean on and the product does not contain."""
