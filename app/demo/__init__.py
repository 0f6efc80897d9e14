"""The demo: a network of invented people, and one real study that goes all the way."""
