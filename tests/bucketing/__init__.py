"""Who gets which variant, compared with the vendor's own evaluator."""
