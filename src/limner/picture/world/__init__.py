"""The picture-book world: captioned pictures of animals in hats, drawn with their truth."""
