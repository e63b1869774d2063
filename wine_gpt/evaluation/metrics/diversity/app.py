"""Show the metric's description in its Space."""

from pathlib import Path

import evaluate
import gradio as gr

metric = evaluate.load(str(Path(__file__).with_name("diversity.py")))

with gr.Blocks(title=metric.name) as page:
    gr.Markdown(f"# {metric.name}\n{metric.description}")
    gr.Code(metric.inputs_description, label="inputs and outputs")

if __name__ == "__main__":
    page.launch()
