from mamba_ssm.models.config_mamba import MambaConfig  # noqa: F401
from ophis.torch._language_model import (MambaLMHeadModel, MixerModel, _init_weights, create_block,  # noqa: F401
                                         load_config_hf, load_state_dict_hf)
