"""What the objects of a cluster say: views on raw objects, and patches to them. Knows no other room."""
