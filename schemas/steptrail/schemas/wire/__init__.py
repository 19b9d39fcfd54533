"""Events as bytes: schemas, frames, codec, decoder, keys and headers."""
