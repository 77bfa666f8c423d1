"""Which strategy is followed: chosen from what was realised, stitched from the families in charge, and handed over."""
