"""Quantised checkpoints against the definitions of their formats, in PyTorch.

    .deps/venv/bin/python Tests/Oracle/quantised.py --binary .build/release/coppice [FORMAT]...

A random tiny model is quantised here, and what its weights are worth is computed by `transformers`' functions where it has them for
the CPU (FP8 and MXFP4), else from the definition. Then `coppice prune` to the same architecture gives these weights bit for bit in
bfloat16, and cut it gives what it makes of the dequantised model, byte for byte; neither result says that it is quantised, and
`transformers` loads it. One line a format; the last line counts.
"""

import json
import subprocess

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from cases import ROOT, add_tokenizer, run, tensors

SIZES = dict(
    vocab_size=2048, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    max_position_embeddings=512)
CUT = {"hidden_size": 64, "ffn_hidden_size": 96}
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def base(kind=transformers.Qwen3Config, **more):
    torch.manual_seed(5)
    config = kind(**{**SIZES, **more}, tie_word_embeddings=False)
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_((1 if tensor.ndim == 1 else 0) + 0.2 * torch.randn_like(tensor.float()))
    return model


def projections(model):
    return [key for key, tensor in model.state_dict().items() if tensor.ndim == 2 and "layers" in key]


def float8(weight, scale):
    return (weight.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn)


def blocks(model, stored):
    """DeepSeek's and Qwen's: a scale for each block of 32 × 32."""
    for key in projections(model):
        weight = stored.pop(key)
        rows, columns = weight.shape
        tiles = weight.float().reshape(rows // 32, 32, columns // 32, 32)
        scale = tiles.abs().amax((1, 3)) / 448 * 1.1
        stored[key] = float8(weight, scale.repeat_interleave(32, 0).repeat_interleave(32, 1))
        stored[key + "_scale_inv"] = scale
        yield key, Fp8Dequantize(None)._dequantize_one(stored[key], scale).to(torch.bfloat16)


def uneven(model, stored):
    """The last block of 128 is narrower."""
    for key in projections(model):
        weight = stored.pop(key)
        count = [(size + 127) // 128 for size in weight.shape]
        scale = torch.rand(count) * 0.01 + 0.001
        whole = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:weight.shape[0], :weight.shape[1]]
        stored[key] = float8(weight, whole)
        stored[key + "_scale_inv"] = scale
        yield key, (stored[key].float() * whole).to(torch.bfloat16)


def exponents(model, stored):
    """Scales that are powers of two, in eight bits."""
    for key in projections(model):
        weight = stored.pop(key)
        scale = torch.full((weight.shape[0] // 32, weight.shape[1] // 32), 2.0 ** -9).to(torch.float8_e8m0fnu)
        whole = scale.float().repeat_interleave(32, 0).repeat_interleave(32, 1)
        stored[key], stored[key + "_scale_inv"] = float8(weight, whole), scale
        yield key, (stored[key].float() * whole).to(torch.bfloat16)


def by_row(model, stored, dtype=torch.bfloat16):
    """compressed-tensors' FP8_DYNAMIC: a scale for each row, in bfloat16."""
    for key in projections(model):
        weight = stored.pop(key)
        scale = (weight.float().abs().amax(1, keepdim=True) / 448).to(dtype)
        stored[key], stored[key + "_scale"] = float8(weight, scale.float()), scale
        yield key, (stored[key].to(dtype) * scale).to(torch.bfloat16)


def by_tensor(model, stored):
    """Model-Optimizer's FP8: one scale, and one of the activations, and of the cache."""
    for key in projections(model):
        weight = stored.pop(key)
        scale = weight.float().abs().max() / 448
        stored[key], stored[key + "_scale"] = float8(weight, scale), scale
        stored[key.replace("weight", "input_scale")] = torch.tensor(0.01)
        if "k_proj" in key:
            stored[key.replace("weight", "k_scale")] = torch.tensor(1.0)
        yield key, (stored[key].float() * scale).to(torch.bfloat16)


def nibbles(values):
    """The nearest of E2M1's values, two a byte, the first in the lower half."""
    chosen = (values.float()[..., None] - E2M1).abs().argmin(-1).to(torch.uint8)
    return chosen[..., ::2] | chosen[..., 1::2] << 4, E2M1[chosen.long()]


def nv(model, stored, divides):
    for key in projections(model):
        weight = stored.pop(key)
        groups = weight.float().reshape(weight.shape[0], -1, 16)
        overall = groups.abs().max() / (448 * 6)
        scale = (groups.abs().amax(-1) / 6 / overall).to(torch.float8_e4m3fn)
        factor = scale.float() / (1 / overall) if divides else scale.float() * overall
        packed, values = nibbles(groups / factor[..., None].clamp_min(1e-12))
        name = key + "_packed" if divides else key
        stored[name] = packed.reshape(weight.shape[0], -1)
        stored[key + "_scale"] = scale
        stored[key + ("_global_scale" if divides else "_scale_2")] = (1 / overall if divides else overall).reshape([1] if divides else [])
        stored[key.replace("weight", "input_global_scale" if divides else "input_scale")] = torch.tensor(1.0)
        yield key, (values * factor[..., None]).reshape(weight.shape).to(torch.bfloat16)


def mx(model, stored):
    """gpt-oss: of experts, by rows of the transposed weight."""
    for key in [key for key in stored if key.endswith(("gate_up_proj", "down_proj"))]:
        weight = stored.pop(key).transpose(1, 2)
        groups = weight.float().reshape(*weight.shape[:2], -1, 32)
        exponent = (groups.abs().amax(-1) / 6).log2().ceil().clamp(-100, 100)
        packed, _ = nibbles(groups / exponent.exp2()[..., None])
        stored[key + "_blocks"], stored[key + "_scales"] = packed, (exponent + 127).to(torch.uint8)
        yield key, convert_moe_packed_tensors(packed, stored[key + "_scales"])


def packed(model, stored, bits, group):
    """Kimi K2 Thinking's and K2.5's: whole numbers, eight or four a word, the first in the lowest bits (compressed-tensors' pack_to_int32)."""
    half, each = 2 ** (bits - 1), 32 // bits
    for key in projections(model):
        weight = stored.pop(key)
        rows, columns = weight.shape
        parts = weight.float().reshape(rows, -1, group or columns)
        scale = (parts.abs().amax(-1) / (half - 0.5)).to(torch.bfloat16)
        # Whole numbers have one zero.
        values = (parts / scale.float()[..., None]).round().clamp(-half, half - 1) + 0.0
        words = (values.long().reshape(rows, -1, each) + half << torch.arange(0, 32, bits)).sum(-1)
        stored[key + "_packed"] = torch.where(words < 2 ** 31, words, words - 2 ** 32).to(torch.int32)
        stored[key + "_scale"] = scale
        stored[key + "_shape"] = torch.tensor([rows, columns])
        yield key, (values.to(torch.bfloat16) * scale[..., None]).reshape(weight.shape)


def groups(bits, **more):
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"type": "float", "num_bits": bits, **more}}}}


def integers(bits, **more):
    said = groups(bits, symmetric=True, actorder=None, **more) | {"format": "pack-quantized"}
    said["config_groups"]["group_0"]["weights"]["type"] = "int"
    return said


FORMATS = {
    "fp8-blocks": (base, blocks, {"quant_method": "fp8", "weight_block_size": [32, 32]}, None),
    "fp8-uneven": (base, uneven, {"quant_method": "fp8", "weight_block_size": [128, 128]}, None),
    "fp8-exponents": (base, exponents, {"quant_method": "fp8", "weight_block_size": [32, 32], "scale_fmt": "ue8m0"}, None),
    "fp8-rows": (base, by_row, groups(8, strategy="channel"), None),
    "fp8-fbgemm": (base, lambda m, s: by_row(m, s, torch.float32), {"quant_method": "fbgemm_fp8"}, None),
    "fp8-modelopt": (base, by_tensor, {"quant_method": "modelopt", "quant_algo": "FP8"}, None),
    "fp8-modelopt-file": (base, by_tensor, None, {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}),
    "nvfp4-modelopt": (base, lambda m, s: nv(m, s, False), {"quant_method": "modelopt", "quant_algo": "NVFP4"}, None),
    "nvfp4-compressed": (base, lambda m, s: nv(m, s, True), groups(4, group_size=16, strategy="tensor_group"), None),
    "int4-compressed": (base, lambda m, s: packed(m, s, 4, 32), integers(4, group_size=32, strategy="group"), None),
    "int8-compressed": (base, lambda m, s: packed(m, s, 8, None), integers(8, strategy="channel"), None),
    "mxfp4": (lambda: base(transformers.GptOssConfig, intermediate_size=64, num_local_experts=4, num_experts_per_tok=2, sliding_window=16),
              mx, {"quant_method": "mxfp4"}, None),
}


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def check(name, binary, work):
    make, quantise, said, file = FORMATS[name]
    plain, source = work / f"{name}-plain", work / name
    model = make()
    model.save_pretrained(plain)
    source.mkdir()
    stored = dict(load_file(plain / "model.safetensors"))
    expected = dict(stored)
    for key, value in quantise(model, stored):
        expected[key] = value
    save_file({key: tensor.contiguous() for key, tensor in stored.items()}, source / "model.safetensors", {"format": "pt"})
    save_file({key: tensor.contiguous() for key, tensor in expected.items()}, plain / "model.safetensors", {"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | ({"quantization_config": said} if said else {})))
    if file:
        (source / "hf_quant_config.json").write_text(json.dumps(file))
    for folder in (plain, source):
        add_tokenizer(folder)
    cut = CUT if name != "mxfp4" else {"hidden_size": 64, "moe_ffn_hidden_size": 32, "num_moe_experts": 3}

    def prune(model, out, cut):
        done = subprocess.run(
            [binary, "prune", "--hf_model_name_or_path", model, "--output_hf_path", out, "--prune_export_config", json.dumps(cut),
             "--calib_dataset_name", ROOT / "Examples/data/calib.jsonl", "--calib_num_samples", "8", "--seq_length", "48",
             "--prune_intermediate_ckpt", work / f"{out.name}-kept"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1500:]
        return done.stderr

    out = work / f"{name}-same"
    said = prune(source, out, {"hidden_size": config["hidden_size"]})
    assert "stored quantised" in said, "nothing says that the weights are quantised"
    found = tensors(out)
    assert set(found) == set(expected), sorted(set(found) ^ set(expected))[:3]
    for key, tensor in expected.items():
        assert same(found[key], tensor), f"{key} differs from the definition"
    written = json.loads((out / "config.json").read_text())
    assert "quantization_config" not in written and not (out / "hf_quant_config.json").exists()
    transformers.AutoModelForCausalLM.from_pretrained(out)
    prune(source, work / f"{name}-cut", cut)
    prune(plain, work / f"{name}-plain-cut", cut)
    ours, other = tensors(work / f"{name}-cut"), tensors(work / f"{name}-plain-cut")
    assert set(ours) == set(other)
    for key, tensor in other.items():
        assert same(ours[key], tensor), f"{key} differs from the dequantised model's cut"
    return f"{len(expected)} tensors"


if __name__ == "__main__":
    run(__doc__, FORMATS, check)
