"""What the small networks are told: kinds of pictures, names, descriptions, sentences, and the vocabulary."""
