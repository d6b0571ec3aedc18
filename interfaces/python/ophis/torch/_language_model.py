"""Mamba and Mamba-2 language models, with the names, arguments and parameter names of mamba_ssm.models."""

from __future__ import annotations

import json
import math
from collections import namedtuple
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook as has_any_global_hook

from ophis import _core
from ophis.errors import CorruptDataError, UnsupportedError
from ophis.lm import LM
from ophis.torch._attention import MHA
from ophis.torch._generation import GenerationMixin
from ophis.torch._library import FLOATS
from ophis.torch._mamba import Mamba
from ophis.torch._mamba2 import Mamba2
from ophis.torch._mlp import GatedMLP
from ophis.torch._norm import RMSNorm, RMSNormGated, layer_norm_fn

CausalLMOutput = namedtuple("CausalLMOutput", ["logits"])


@dataclass
class MambaConfig:
    """A model's config.json in mamba_ssm's layout. ssm_cfg: the arguments of the blocks, and "layer", "Mamba1" or "Mamba2";
    attn_layer_idx: the layers that are attention instead, of the arguments attn_cfg."""

    d_model: int = 2560
    d_intermediate: int = 0
    n_layer: int = 64
    vocab_size: int = 50277
    ssm_cfg: dict = field(default_factory=dict)
    attn_layer_idx: list = field(default_factory=list)
    attn_cfg: dict = field(default_factory=dict)
    rms_norm: bool = True
    residual_in_fp32: bool = True
    fused_add_norm: bool = True
    pad_vocab_size_multiple: int = 8
    tie_embeddings: bool = True


def add_norm(norm, hidden_states, residual, is_fused, residual_in_fp32):
    """The norm of hidden_states + residual, and that sum."""
    if is_fused:
        return layer_norm_fn(hidden_states, norm.weight, norm.bias, residual=residual, eps=norm.eps, prenorm=True,
                             residual_in_fp32=residual_in_fp32, is_rms_norm=isinstance(norm, RMSNorm))
    residual = hidden_states if residual is None else hidden_states + residual
    return norm(residual.to(norm.weight.dtype)), residual.float() if residual_in_fp32 else residual


class Block(nn.Module):
    """residual += hidden_states; hidden_states = mixer(norm(residual)); and the same with norm2 and the MLP, if there is one."""

    def __init__(self, dim, mixer_cls, mlp_cls, norm_cls=nn.LayerNorm, fused_add_norm=False, residual_in_fp32=False):
        super().__init__()
        self.residual_in_fp32, self.fused_add_norm = residual_in_fp32, fused_add_norm
        self.norm = norm_cls(dim)
        self.mixer = mixer_cls(dim)
        self.mlp = None
        if mlp_cls is not nn.Identity:
            self.norm2 = norm_cls(dim)
            self.mlp = mlp_cls(dim)

    def forward(self, hidden_states, residual=None, inference_params=None, **mixer_kwargs):
        """hidden_states, residual: (batch, seqlen, dim). Returns both; residual lacks what hidden_states has to add."""
        add = partial(add_norm, is_fused=self.fused_add_norm, residual_in_fp32=self.residual_in_fp32)
        hidden_states, residual = add(self.norm, hidden_states, residual)
        hidden_states = self.mixer(hidden_states, inference_params=inference_params, **mixer_kwargs)
        if self.mlp is not None:
            hidden_states, residual = add(self.norm2, hidden_states, residual)
            hidden_states = self.mlp(hidden_states)
        return hidden_states, residual

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **kwargs):
        return self.mixer.allocate_inference_cache(batch_size, max_seqlen, dtype=dtype, **kwargs)


def create_block(d_model, d_intermediate, ssm_cfg=None, attn_layer_idx=None, attn_cfg=None, norm_epsilon=1e-5, rms_norm=False,
                 residual_in_fp32=False, fused_add_norm=False, layer_idx=None, device=None, dtype=None):
    """The layer layer_idx of a model, as its configuration says."""
    factory = {"device": device, "dtype": dtype}
    if layer_idx in (attn_layer_idx or []):
        mixer_cls = partial(MHA, layer_idx=layer_idx, **(attn_cfg or {}), **factory)
    else:
        arguments = dict(ssm_cfg or {})
        name = arguments.pop("layer", "Mamba1")
        if name not in ("Mamba1", "Mamba2"):
            raise ValueError(f"Invalid ssm_layer: {name}, only support Mamba1 and Mamba2")
        mixer_cls = partial(Mamba2 if name == "Mamba2" else Mamba, layer_idx=layer_idx, **arguments, **factory)
    mlp_cls = nn.Identity
    if d_intermediate != 0:
        mlp_cls = partial(GatedMLP, hidden_features=d_intermediate, out_features=d_model, **factory)
    block = Block(d_model, mixer_cls, mlp_cls, partial(RMSNorm if rms_norm else nn.LayerNorm, eps=norm_epsilon, **factory),
                  fused_add_norm, residual_in_fp32)
    block.layer_idx = layer_idx
    return block


def _init_weights(module, n_layer, initializer_range=0.02, rescale_prenorm_residual=True, n_residuals_per_layer=1):
    """Embeddings are normal, biases zero but where they are marked, and what adds to the residual is torch's own, scaled by
    1 / sqrt(number of additions), as GPT-2's."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=initializer_range)
    elif isinstance(module, nn.Linear) and module.bias is not None and not getattr(module.bias, "_no_reinit", False):
        nn.init.zeros_(module.bias)
    if rescale_prenorm_residual:
        for name in ("out_proj", "fc2"):
            if isinstance(layer := getattr(module, name, None), nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
                with torch.no_grad():
                    layer.weight /= math.sqrt(n_residuals_per_layer * n_layer)


class MixerModel(nn.Module):
    """The embedding, the blocks and the final norm: (batch, seqlen) ids to (batch, seqlen, d_model)."""

    def __init__(self, d_model, n_layer, d_intermediate, vocab_size, ssm_cfg=None, attn_layer_idx=None, attn_cfg=None,
                 norm_epsilon=1e-5, rms_norm=False, initializer_cfg=None, fused_add_norm=False, residual_in_fp32=False,
                 device=None, dtype=None):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        self.residual_in_fp32, self.fused_add_norm = residual_in_fp32, fused_add_norm
        self.embedding = nn.Embedding(vocab_size, d_model, **factory)
        self.layers = nn.ModuleList(
            create_block(d_model, d_intermediate, ssm_cfg, attn_layer_idx, attn_cfg, norm_epsilon, rms_norm, residual_in_fp32,
                         fused_add_norm, layer_idx=i, **factory) for i in range(n_layer))
        self.norm_f = (RMSNorm if rms_norm else nn.LayerNorm)(d_model, eps=norm_epsilon, **factory)
        self.apply(partial(_init_weights, n_layer=n_layer, **(initializer_cfg or {}),
                           n_residuals_per_layer=1 if d_intermediate == 0 else 2))

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **kwargs):
        """The states of each layer, by its number: what InferenceParams.key_value_memory_dict holds."""
        return {i: layer.allocate_inference_cache(batch_size, max_seqlen, dtype=dtype, **kwargs)
                for i, layer in enumerate(self.layers)}

    def forward(self, input_ids, inference_params=None, **mixer_kwargs):
        hidden_states, residual = self.embedding(input_ids), None
        for layer in self.layers:
            hidden_states, residual = layer(hidden_states, residual, inference_params=inference_params, **mixer_kwargs)
        return add_norm(self.norm_f, hidden_states, residual, self.fused_add_norm, self.residual_in_fp32)[0]


class MambaLMHeadModel(nn.Module, GenerationMixin):
    """A language model: a MixerModel `backbone` and `lm_head`."""

    def __init__(self, config: MambaConfig, initializer_cfg=None, device=None, dtype=None):
        super().__init__()
        self.config = config
        vocab_size = -(-config.vocab_size // config.pad_vocab_size_multiple) * config.pad_vocab_size_multiple
        self.backbone = MixerModel(
            d_model=config.d_model, n_layer=config.n_layer, d_intermediate=config.d_intermediate, vocab_size=vocab_size,
            ssm_cfg=config.ssm_cfg, attn_layer_idx=config.attn_layer_idx, attn_cfg=config.attn_cfg, rms_norm=config.rms_norm,
            initializer_cfg=initializer_cfg, fused_add_norm=config.fused_add_norm, residual_in_fp32=config.residual_in_fp32,
            device=device, dtype=dtype)
        self.lm_head = nn.Linear(config.d_model, vocab_size, bias=False, device=device, dtype=dtype)
        self.tie_weights()

    def tie_weights(self):
        if self.config.tie_embeddings:
            self.lm_head.weight = self.backbone.embedding.weight

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **kwargs):
        return self.backbone.allocate_inference_cache(batch_size, max_seqlen, dtype=dtype, **kwargs)

    def forward(self, input_ids, position_ids=None, inference_params=None, num_last_tokens=0, **mixer_kwargs):
        """input_ids: (batch, seqlen). Returns a named tuple with the logits (batch, seqlen, vocab), or of the last
        num_last_tokens positions. position_ids is not looked at. mixer_kwargs go to the blocks: seq_idx, cu_seqlens."""
        hidden_states = self.backbone(input_ids, inference_params=inference_params, **mixer_kwargs)
        if num_last_tokens > 0:
            hidden_states = hidden_states[:, -num_last_tokens:]
        return CausalLMOutput(logits=self.lm_head(hidden_states))

    def as_lm(self) -> LM | None:
        """An ophis.LM that shares this model's weights, for generation; or None where the modules may compute something else than it
        does: some were replaced or have hooks, ophis.LM does not know them, or autocast is on."""
        parameters = list(self.parameters())
        device, dtype = parameters[0].device, parameters[0].dtype
        is_changed = lambda module: (  # noqa: E731
            type(module) not in _KNOWN or "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks)
        if (dtype not in FLOATS or any(each.device != device for each in parameters) or torch.is_autocast_enabled(device.type)
                or has_any_global_hook() or any(is_changed(module) for module in self.modules())
                or (self.lm_head.weight is self.backbone.embedding.weight) != self.config.tie_embeddings):
            return None
        try:
            return LM.from_module(self)
        except UnsupportedError:
            return None

    @classmethod
    def from_pretrained(cls, pretrained_model_name, device=None, dtype=None, **kwargs):
        """A checkpoint in mamba_ssm's layout, by its folder or its id on the Hugging Face hub (state-spaces/mamba-130m)."""
        folder = _core.resolve_model(fspath(pretrained_model_name))
        model = cls(MambaConfig(**_read_config(folder)), device=device, dtype=dtype, **kwargs)
        state_dict = _read_weights(folder)
        if model.config.tie_embeddings:
            state_dict.setdefault("lm_head.weight", state_dict.get("backbone.embedding.weight"))
        model.load_state_dict(state_dict)
        return model

    def save_pretrained(self, save_directory):
        """Writes config.json and pytorch_model.bin to a folder, which is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=4))


_KNOWN = {MambaLMHeadModel, MixerModel, Block, Mamba, Mamba2, RMSNorm, RMSNormGated, nn.Linear, nn.Embedding, nn.Conv1d,
          nn.LayerNorm, nn.ModuleList, nn.SiLU}
"""The modules that ophis.LM computes as they do."""


def load_config_hf(model_name: str | PathLike[str]) -> dict[str, Any]:
    """The config.json of a model, by its folder or hub id."""
    return _read_config(_core.resolve_model(fspath(model_name)))


def load_state_dict_hf(model_name: str | PathLike[str], device: Any = None, dtype: torch.dtype | None = None
                       ) -> dict[str, Tensor]:
    """The weights of a model, by its folder or hub id."""
    weights = _read_weights(_core.resolve_model(fspath(model_name)))
    return {name: tensor.to(device=device, dtype=dtype, copy=True) for name, tensor in weights.items()}


def _read_config(folder: str) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise CorruptDataError(f"{path}: {error}") from error
    if not isinstance(config, dict) or "d_model" not in config:
        raise UnsupportedError(f"{path} is not in mamba_ssm's layout, as it has no d_model; ophis.LM and transformers may read it")
    return config


def _read_weights(folder: str) -> dict[str, Tensor]:
    """Views of the files, only to be copied from."""
    checkpoint = _core.Checkpoint.open(folder)
    return {name: checkpoint.tensor(name, "torch") for name in checkpoint.names}
