"""Use the installed package in a folder with a run at runs/base."""

import wine_gpt

print(wine_gpt.__file__)
print(len(wine_gpt.load_reviews("sample").splits["train"]))
print(wine_gpt.generate("runs/base", "wine review : us", seed=1))
