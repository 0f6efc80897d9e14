"""The kinds of health record that a document can be delivered to."""
