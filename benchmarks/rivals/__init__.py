"""llmbench beside other clients, on one server whose own times are known."""
