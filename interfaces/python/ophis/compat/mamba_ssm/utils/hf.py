from ophis.torch._language_model import load_config_hf, load_state_dict_hf  # noqa: F401
