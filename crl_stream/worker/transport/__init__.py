"""How Faust's messages get in and out, made exact."""
