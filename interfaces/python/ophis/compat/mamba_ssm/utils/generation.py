from ophis.torch._generation import (GenerationMixin, InferenceParams, decode,  # noqa: F401
                                     modify_logit_for_repetition_penalty, modify_logits_for_min_p_filtering,
                                     modify_logits_for_top_k_filtering, modify_logits_for_top_p_filtering, sample)
