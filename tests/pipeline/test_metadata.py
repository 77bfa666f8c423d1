"""Metadata that the web UI shows."""

from crossattn_pipeline.metadata import MAX_IMAGE_BYTES, figure


def test_a_picture_that_is_too_large_is_left_out_with_a_sentence_and_fails_nothing() -> None:
    assert "data:image/png" in figure(b"1" * MAX_IMAGE_BYTES, "views").value
    assert figure(b"1" * (MAX_IMAGE_BYTES + 1), "views").value == "The picture 'views' is left out: 60001 bytes, more than 60000."
