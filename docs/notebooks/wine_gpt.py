# %% [markdown] lang="en"
# # A reduced GPT on wine reviews, step by step
#
# This notebook repeats the class's notebook (chapter 9 of David Foster's *Generative Deep Learning*, 2nd edition) with the tools of the
# Hugging Face ecosystem. Each section says what the class's cell does, what replaces it here, and why. Each ends with an exercise; the
# answer is folded below it.
#
# It runs on the bundled sample in a few minutes on two CPU cores. The sample is **synthetic**: a grammar wrote its reviews, and no wine in
# it is real. In Colab, Kaggle and Jupyter the next cell installs everything. While `wine_gpt` is on no package index, put the address of its
# repository or a wheel between the quotes: `wine_gpt[evaluation,adapters,similarity] @ git+https://…` or
# `path/to/wine_gpt-….whl[evaluation,adapters,similarity]`.
# %% [markdown] lang="es"
# # Un GPT reducido sobre reseñas de vinos, paso a paso
#
# Este cuaderno repite el de la clase (capítulo 9 de *Generative Deep Learning*, 2.ª edición, de David Foster) con las herramientas del
# ecosistema de Hugging Face. Cada sección dice qué hace la celda de la clase, qué la reemplaza aquí y por qué. Cada una termina con un
# ejercicio; la respuesta está plegada debajo. El código, las reseñas y los rótulos de las figuras están en inglés.
#
# Con la muestra incluida tarda unos minutos en dos núcleos de CPU. La muestra es **sintética**: una gramática escribió sus reseñas y ningún
# vino es real. En Colab, Kaggle y Jupyter la celda siguiente instala todo. Mientras `wine_gpt` no esté en ningún índice de paquetes, escribe
# entre las comillas la dirección de su repositorio o un wheel: `wine_gpt[evaluation,adapters,similarity] @ git+https://…` o
# `ruta/a/wine_gpt-….whl[evaluation,adapters,similarity]`.

# %% tags=["install"]
# %pip install -q "wine_gpt[evaluation,adapters,similarity]"

# %% [markdown] lang="en"
# To use other data, change only the next cell. `DATA = "kaggle"` downloads the class's 130,000 real reviews (`%pip install kagglehub` first); a file
# name reads another file with the same columns. For real reviews `CONFIG = "base.yaml"` is the model to publish, and `"class.yaml"` has the
# class's dimensions. `RUN` is the folder of the trained model, `TEXTS` the number of reviews that section 10 writes. A GPU is used if there
# is one.
# %% [markdown] lang="es"
# Para usar otros datos, cambia solo la celda siguiente. `DATA = "kaggle"` descarga las 130 000 reseñas reales de la clase (antes, `%pip install kagglehub`);
# un nombre de archivo lee otro archivo con las mismas columnas. Para reseñas reales, `CONFIG = "base.yaml"` es el modelo que se publica y
# `"class.yaml"` tiene las dimensiones de la clase. `RUN` es la carpeta del modelo entrenado y `TEXTS`, el número de reseñas que escribe la
# sección 10. Si hay una GPU, se usa.

# %% tags=["settings"]
DATA = "sample"
CONFIG = "sample.yaml"
RUN = "runs/notebook"
TEXTS = 100

# %%
from dataclasses import asdict
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Image
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import pipeline

import wine_gpt
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data import COMPOSED
from wine_gpt.tasks.similarity import load_index
from wine_gpt.tokenizer import class_words

# %% [markdown] lang="en"
# ## 1. Load and filter
#
# *Class:* reads the JSON file and keeps the records that have a country, a province, a variety and a description.
#
# *Here:* `load_reviews` does the same for JSON, CSV, Parquet, zip and datasets of the Hub. It also removes duplicates **before** it splits the
# reviews into training, validation and test, because a review that is in two splits would be scored from memory.
# %% [markdown] lang="es"
# ## 1. Cargar y filtrar
#
# *Clase:* lee el archivo JSON y conserva los registros que tienen país, provincia, variedad y descripción.
#
# *Aquí:* `load_reviews` hace lo mismo con JSON, CSV, Parquet, zip y conjuntos de datos del Hub. Además quita los duplicados **antes** de
# separar entrenamiento, validación y prueba, porque una reseña que está en dos partes se evaluaría de memoria.

# %%
reviews = wine_gpt.load_reviews(DATA)
report = reviews.report
incomplete = report.blank + sum(report.dropped.values())
print(f"{report.read:,} read, {incomplete:,} incomplete, {report.duplicates:,} duplicates, {report.kept:,} kept")
print({name: len(split) for name, split in reviews.splits.items()})
columns = ["country", "province", "variety", "description"]
reviews.splits["train"].select_columns(columns).to_pandas().head()

# %% [markdown] lang="en"
# **Exercise.** The class trains on all reviews and prints the training loss. What can that loss not tell?
#
# <details><summary>Answer</summary>
#
# Whether the model predicts reviews that it has not seen. A model that learns the training reviews by heart has a training loss near 0 and
# writes nothing new. Section 10 measures the loss on the test split, section 11 the copying.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** La clase entrena con todas las reseñas e imprime la pérdida de entrenamiento. ¿Qué no puede decir esa pérdida?
#
# <details><summary>Respuesta</summary>
#
# Si el modelo predice reseñas que no ha visto. Un modelo que aprende las reseñas de memoria tiene una pérdida de entrenamiento cercana a 0 y
# no escribe nada nuevo. La sección 10 mide la pérdida en la parte de prueba y la sección 11, las copias.
# </details>

# %% [markdown] lang="en"
# ## 2. The review as one text, punctuation as words
#
# *Class:* joins the fields to `wine review : country : province : variety : description`, and `pad_punctuation` puts spaces around each
# punctuation character, so that it becomes a word of its own.
#
# *Here:* the text is the same; prefix and fields are settings, so the same code serves other corpora. The tokenizer splits punctuation itself
# with the class's regular expression, and all words are lower case. `COMPOSED` names the column with the joined text; `class_words` splits a text as
# the class does.
# %% [markdown] lang="es"
# ## 2. La reseña como un texto, la puntuación como palabras
#
# *Clase:* une los campos en `wine review : país : provincia : variedad : descripción`, y `pad_punctuation` rodea cada signo de puntuación de
# espacios para que sea una palabra.
#
# *Aquí:* el texto es el mismo; el prefijo y los campos son ajustes, así que el mismo código sirve para otros textos. El tokenizador separa la
# puntuación con la expresión regular de la clase, y todas las palabras van en minúsculas. `COMPOSED` nombra la columna con el texto unido;
# `class_words` separa un texto como la clase.

# %%
review = reviews.splits["train"][0][COMPOSED]
print(review, "\n")
print(class_words(review))

# %% [markdown] lang="en"
# **Exercise.** Into how many words are `don't` and `14.5%` split, and what would happen without the spaces around punctuation?
#
# <details><summary>Answer</summary>
#
# Into three (`don`, `'`, `t`) and four (`14`, `.`, `5`, `%`). Without the spaces `wine`, `wine.` and `wine,` would be three words with three
# ids. The model would learn nothing about one from the others, and fewer different words would fit the vocabulary.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿En cuántas palabras se separan `don't` y `14.5%`, y qué pasaría sin los espacios alrededor de la puntuación?
#
# <details><summary>Respuesta</summary>
#
# En tres (`don`, `'`, `t`) y en cuatro (`14`, `.`, `5`, `%`). Sin los espacios, `wine`, `wine.` y `wine,` serían tres palabras con tres
# identificadores. El modelo no aprendería nada de una para las otras, y en el vocabulario cabrían menos palabras distintas.
# </details>

# %% [markdown] lang="en"
# ## 3. Vocabulary and ids
#
# *Class:* `TextVectorization` keeps the 10,000 commonest words. Id 0 is padding, id 1 any unknown word, and then the words follow by frequency.
#
# *Here:* `train_tokenizer` gives the same words the same ids, in a tokenizer that the Hub and every tool of the ecosystem can load. It adds
# `[BOS]` and `[EOS]` after the vocabulary, so that the model knows where a review begins and ends. On real reviews the first ids are those of
# the class: 2 `:`, 3 `,`, 4 `.`, 5 `and`, 6 `the`, 7 `wine`, 8 `a`, 9 `of`, 10 `review`, so that every text begins with 7, 10, 2. The sample's
# words have other frequencies and so other ids.
# %% [markdown] lang="es"
# ## 3. Vocabulario e identificadores
#
# *Clase:* `TextVectorization` conserva las 10 000 palabras más frecuentes. El identificador 0 es el relleno, el 1 cualquier palabra
# desconocida, y después siguen las palabras por frecuencia.
#
# *Aquí:* `train_tokenizer` da a las mismas palabras los mismos identificadores, en un tokenizador que pueden cargar el Hub y todas las
# herramientas del ecosistema. Añade `[BOS]` y `[EOS]` después del vocabulario para que el modelo sepa dónde empieza y termina una reseña. Con
# reseñas reales los primeros identificadores son los de la clase: 2 `:`, 3 `,`, 4 `.`, 5 `and`, 6 `the`, 7 `wine`, 8 `a`, 9 `of`, 10 `review`,
# así que todo texto empieza con 7, 10, 2. Las palabras de la muestra tienen otras frecuencias y, por tanto, otros identificadores.

# %%
tokenizer = wine_gpt.train_tokenizer(data=DATA)
print(f"{len(tokenizer):,} tokens; the first:", tokenizer.convert_ids_to_tokens(range(12)))
ids = tokenizer("wine review : italy : a zzyzx wine .", add_special_tokens=False)["input_ids"]
pd.DataFrame({"word": tokenizer.convert_ids_to_tokens(ids), "id": ids})

# %% [markdown] lang="en"
# **Exercise.** `zzyzx` became `[UNK]`. Why must the model never *write* `[UNK]`, and why does a smaller vocabulary make the loss look better?
#
# <details><summary>Answer</summary>
#
# `[UNK]` stands for no word, so a reader could not make sense of it; `generation_config.json` suppresses it. A small vocabulary turns many
# rare words into the one common token `[UNK]`, which is easy to predict, so compare losses only at an equal rate of unknown words.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** `zzyzx` se volvió `[UNK]`. ¿Por qué el modelo nunca debe *escribir* `[UNK]`, y por qué un vocabulario menor hace que la pérdida
# parezca mejor?
#
# <details><summary>Respuesta</summary>
#
# `[UNK]` no representa ninguna palabra, así que nadie podría leerlo; `generation_config.json` lo suprime. Un vocabulario pequeño convierte
# muchas palabras raras en el único símbolo frecuente `[UNK]`, fácil de predecir: compara pérdidas solo con la misma tasa de palabras
# desconocidas.
# </details>

# %% [markdown] lang="en"
# ### Words, characters or byte-pair encoding
#
# The class's slides compare words with characters. `tokenizer.kind` chooses either, or byte-pair encoding (BPE, as GPT-2's), which spells rare
# words in pieces. The table shows what each costs and what it does with a word that no review has; `␣` stands for a space. The vocabularies
# include the special tokens. The page `docs/tokenizers.md` compares one model of each, trained on the same real reviews.
# %% [markdown] lang="es"
# ### Palabras, caracteres o codificación por pares de bytes
#
# Las diapositivas de la clase comparan palabras con caracteres. `tokenizer.kind` elige unas u otros, o la codificación por pares de bytes (BPE,
# como la de GPT-2), que escribe las palabras raras por trozos. La tabla muestra cuánto cuesta cada una y qué hace con una palabra que ninguna
# reseña tiene; `␣` representa un espacio. Los vocabularios incluyen los símbolos especiales. La página `docs/tokenizers.md` compara un modelo
# de cada una, entrenado con las mismas reseñas reales.

# %%
kinds = {
    "words": tokenizer,
    "characters": wine_gpt.train_tokenizer(data=DATA, tokenizer={"kind": "characters"}),
    "bpe": wine_gpt.train_tokenizer(data=DATA, tokenizer={"kind": "bpe", "vocab_size": 1000}),
}
rows = {}
for kind, one in kinds.items():
    ids = one("a zzyzx wine", add_special_tokens=False)["input_ids"]
    pieces = [one.decode([index]).replace(" ", "␣") for index in ids]
    rows[kind] = {
        "vocabulary": len(one),
        "tokens of the review": len(one(review)["input_ids"]),
        "a zzyzx wine": " · ".join(pieces),
    }
pd.DataFrame(rows)

# %% [markdown] lang="en"
# **Exercise.** A model over characters never meets an unknown word. Why is it not the better choice for wine reviews?
#
# <details><summary>Answer</summary>
#
# A review has about five times as many positions, so the same training costs more, and the model spends what it learns on spelling. It also writes
# words that do not exist. Compare such models by the loss per character, in bits (`wine_gpt.evaluate_model` returns it), because the loss per
# token is that of a whole word for one model and of a single letter for the other.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** Un modelo sobre caracteres nunca encuentra una palabra desconocida. ¿Por qué no es la mejor elección para reseñas de vinos?
#
# <details><summary>Respuesta</summary>
#
# Una reseña tiene unas cinco veces más posiciones, así que el mismo entrenamiento cuesta más, y el modelo gasta lo que aprende en deletrear.
# Además escribe palabras que no existen. Compara esos modelos por la pérdida por carácter, en bits (la devuelve `wine_gpt.evaluate_model`),
# porque la pérdida por símbolo es la de una palabra entera en un modelo y la de una sola letra en el otro.
# </details>

# %% [markdown] lang="en"
# ## 4. Inputs and targets
#
# *Class:* `prepare_inputs` shifts a review by one word: the target of each position is the next word.
#
# *Here:* the same shift happens inside the model's loss. The class pads every review to 80 words and counts the padding in the loss; here
# reviews of similar length share a batch, and padding never counts.
# %% [markdown] lang="es"
# ## 4. Entradas y objetivos
#
# *Clase:* `prepare_inputs` desplaza la reseña una palabra: el objetivo de cada posición es la palabra siguiente.
#
# *Aquí:* el mismo desplazamiento ocurre dentro de la pérdida del modelo. La clase rellena cada reseña hasta 80 palabras y cuenta el relleno
# en la pérdida; aquí las reseñas de longitud parecida comparten un lote y el relleno nunca cuenta.

# %%
tokens = tokenizer.convert_ids_to_tokens(tokenizer(review)["input_ids"][:12])
pd.DataFrame({"input": tokens[:-1], "target": tokens[1:]})

# %% [markdown] lang="en"
# **Exercise.** What would the model learn if the targets were not shifted?
#
# <details><summary>Answer</summary>
#
# To repeat its input. Each position sees its own word, so the loss would fall to 0, and the model could predict no next word.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Qué aprendería el modelo si los objetivos no estuvieran desplazados?
#
# <details><summary>Respuesta</summary>
#
# A repetir su entrada. Cada posición ve su propia palabra, así que la pérdida bajaría a 0 y el modelo no podría predecir ninguna palabra
# siguiente.
# </details>

# %% [markdown] lang="en"
# ## 5. Causal attention
#
# *Class:* `causal_attention_mask` builds a triangle of ones, so that no word sees a later one.
#
# *Here:* `GPT2LMHeadModel` has the same mask. Below are the attention weights of an untrained model's first block, averaged over its heads:
# each row is a word, each column a word that it attends to. Nothing stands right of the diagonal, and each row is spread almost evenly,
# because nothing was learned yet. The first cell prints the model's dimensions: `n_layer` blocks with `n_head` heads each, a vector of `n_embd`
# numbers for each word, `n_inner` units in a block's feed-forward layer, and texts of at most `block_size` words.
# %% [markdown] lang="es"
# ## 5. Atención causal
#
# *Clase:* `causal_attention_mask` construye un triángulo de unos para que ninguna palabra vea una posterior.
#
# *Aquí:* `GPT2LMHeadModel` tiene la misma máscara. Abajo están los pesos de atención del primer bloque de un modelo sin entrenar, promediados
# sobre sus cabezas: cada fila es una palabra y cada columna, una palabra a la que atiende. A la derecha de la diagonal no hay nada, y cada fila
# se reparte casi por igual porque aún no se aprendió nada. La primera celda imprime las dimensiones del modelo: `n_layer` bloques con `n_head`
# cabezas cada uno, un vector de `n_embd` números por palabra, `n_inner` unidades en la capa densa de cada bloque y textos de `block_size`
# palabras como máximo.

# %%
shape = parse_config(PretrainConfig, [CONFIG]).model
# without dropout, which would hide some weights
untrained = wine_gpt.build_model(tokenizer, **asdict(shape)).eval()
# the implementation that returns the attention weights
untrained.set_attn_implementation("eager")
shape

# %%
encoded = tokenizer("wine review : italy : tuscany : sangiovese :", return_tensors="pt")
weights = untrained(**encoded, output_attentions=True).attentions[0][0].mean(0).detach()
words = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist())

# %%
plt.imshow(weights, cmap="Reds", vmin=0, vmax=1)
plt.xticks(range(len(words)), words, rotation=90)
plt.yticks(range(len(words)), words)
plt.gca().set(xlabel="word that is attended to", ylabel="word that attends")
plt.colorbar(label="attention weight")
plt.show()

# %% [markdown] lang="en"
# **Exercise.** Why is the first row dark and the last one pale?
#
# <details><summary>Answer</summary>
#
# The weights of a row sum to 1. `[BOS]` sees only itself, so its weight is 1; the tenth row spreads the 1 over ten words.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Por qué la primera fila es oscura y la última, pálida?
#
# <details><summary>Respuesta</summary>
#
# Los pesos de una fila suman 1. `[BOS]` solo se ve a sí mismo, así que su peso es 1; la décima fila reparte el 1 entre diez palabras.
# </details>

# %% [markdown] lang="en"
# ## 6. The model and its parameters
#
# *Class:* one `TransformerBlock` between `TokenAndPositionEmbedding` and a `Dense` layer with a softmax.
#
# *Here:* a `GPT2LMHeadModel` of the same parts, with two blocks in the sample's config. The output layer shares its weights with the word
# embedding (*tied*), which saves a matrix of vocabulary × width (`n_embd`). The class's block normalizes after attention and feed-forward;
# GPT-2's normalizes before them, which makes deeper models train more stably. `norms` in the table are these layer normalizations.
# %% [markdown] lang="es"
# ## 6. El modelo y sus parámetros
#
# *Clase:* un `TransformerBlock` entre `TokenAndPositionEmbedding` y una capa `Dense` con softmax.
#
# *Aquí:* un `GPT2LMHeadModel` con las mismas partes y, en la configuración de la muestra, dos bloques. La capa de salida comparte sus pesos
# con la de palabras (*tied*), lo que ahorra una matriz de vocabulario × ancho (`n_embd`). El bloque de la clase normaliza después de la atención
# y de la capa densa; el de GPT-2, antes, con lo que los modelos más profundos entrenan de forma más estable. En la tabla, `norms` son esas
# normalizaciones, `word embedding` la matriz de palabras y `feed-forward` las capas densas.

# %%
names = {"wte": "word embedding", "wpe": "positions", "attn": "attention", "mlp": "feed-forward"}
sizes = pd.Series({name: weights.numel() for name, weights in untrained.named_parameters()})
parts = sizes.groupby(lambda name: next((names[key] for key in names if key in name), "norms")).sum()
parts.sort_values().map("{:,}".format).to_frame(f"of {sizes.sum():,} parameters")

# %% [markdown] lang="en"
# **Exercise.** Which part of the table is the largest? How many parameters would the model have with an untied output layer?
#
# <details><summary>Answer</summary>
#
# The sample's feed-forward layers are. Untied, there would be as many more as the word embedding has: 884,736 in all, more than half of them for
# words. On real reviews the vocabulary has 10,002 entries, and with `class.yaml` the tied embedding already holds 2.6 of 3.0 million.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Qué parte de la tabla es la mayor? ¿Cuántos parámetros tendría el modelo con una capa de salida propia?
#
# <details><summary>Respuesta</summary>
#
# Con la muestra, las capas densas. Con una salida propia habría tantos más como tiene la matriz de palabras: 884 736 en total, más de la mitad
# para palabras. Con reseñas reales el vocabulario tiene 10 002 entradas, y con `class.yaml` la matriz compartida ya tiene 2,6 de los 3,0
# millones.
# </details>

# %% [markdown] lang="en"
# ## 7. Training, with a text after each epoch
#
# *Class:* `gpt.fit`, with the callback `TextGenerator` after each epoch.
#
# *Here:* `pretrain` trains, writes three texts after each epoch to `samples.jsonl`, keeps the epoch with the lowest validation loss, and saves a
# folder that `transformers` loads. It takes about a minute on two cores, and can be stopped and resumed. Losses are in nats per word: −ln of
# the probability of the right word, so 0 would be perfect. The perplexity is e to the loss: the model is as uncertain as among that many equally
# likely words. In the curve the training loss is per token, which is a word or the end of a review. On several GPUs take these lines instead of the next cell, before another cell has
# used a GPU. They return nothing; the test loss stands in `metrics.json` of the run's folder.
#
# ```python
# from accelerate import notebook_launcher
#
# notebook_launcher(lambda: wine_gpt.pretrain(CONFIG, data=DATA, output_dir=RUN), num_processes=2)
# ```
# %% [markdown] lang="es"
# ## 7. Entrenar, con un texto después de cada época
#
# *Clase:* `gpt.fit`, con `TextGenerator` después de cada época.
#
# *Aquí:* `pretrain` entrena, escribe tres textos después de cada época en `samples.jsonl`, conserva la época con la menor pérdida de validación
# y guarda una carpeta que `transformers` carga. Tarda alrededor de un minuto en dos núcleos y se puede interrumpir y reanudar. Las pérdidas están
# en nats por palabra: −ln de la probabilidad de la palabra correcta, así que 0 sería perfecto. La perplejidad es e elevado a la pérdida: el
# modelo duda como entre ese número de palabras igual de probables. En la curva, la pérdida de entrenamiento es por símbolo (*token*): una palabra
# o el final de una reseña. Con varias GPU usa estas líneas en lugar de la
# celda siguiente, antes de que otra celda haya usado una GPU. No devuelven nada; la pérdida de prueba está en `metrics.json` de la carpeta.
#
# ```python
# from accelerate import notebook_launcher
#
# notebook_launcher(lambda: wine_gpt.pretrain(CONFIG, data=DATA, output_dir=RUN), num_processes=2)
# ```

# %%
run = wine_gpt.pretrain(CONFIG, data=DATA, output_dir=RUN)
print(f"test loss {run.score.nats_per_word:.3f} nats per word, perplexity {run.score.perplexity:.1f}")

# %%
for number, text in pd.read_json(f"{RUN}/samples.jsonl", lines=True).groupby("epoch").text.first().items():
    print(f"epoch {number}: {text}\n")
Image(f"{RUN}/loss.png", width=500)

# %% [markdown] lang="en"
# **Exercise.** How would these curves look if the model trained too long?
#
# <details><summary>Answer</summary>
#
# The training loss would fall on while the validation loss rises: the model learns its training reviews by heart. `pretrain` keeps the epoch
# with the lowest validation loss. Try it with `training={"epochs": 40}`.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Cómo serían estas curvas si el modelo entrenara demasiado?
#
# <details><summary>Respuesta</summary>
#
# La pérdida de entrenamiento seguiría bajando mientras la de validación sube: el modelo aprende de memoria sus reseñas de entrenamiento.
# `pretrain` conserva la época con la menor pérdida de validación. Pruébalo con `training={"epochs": 40}`.
# </details>

# %% [markdown] lang="en"
# ## 8. Writing at several temperatures
#
# *Class:* `TextGenerator.generate` with a temperature; from `wine review : us` at 1.0, from Italy and Germany at 0.5.
#
# *Here:* the trained folder is an ordinary model, so `pipeline("text-generation", model=RUN)` works without this package. `generate` adds a
# seed. A temperature divides the logits, the scores before the softmax: below 1 the likely words win more often, above 1 rare ones do.
# %% [markdown] lang="es"
# ## 8. Escribir con varias temperaturas
#
# *Clase:* `TextGenerator.generate` con una temperatura; desde `wine review : us` con 1.0, desde Italia y Alemania con 0.5.
#
# *Aquí:* la carpeta entrenada es un modelo corriente, así que `pipeline("text-generation", model=RUN)` funciona sin este paquete. `generate`
# añade una semilla. La temperatura divide los logits, las puntuaciones antes del softmax: por debajo de 1 ganan más las palabras probables; por
# encima, las raras.

# %%
for temperature in (0.3, 1.0, 1.5):
    print(temperature, wine_gpt.generate(RUN, "wine review : italy", seed=1, temperature=temperature), "\n")

# %% [markdown] lang="en"
# **Exercise.** What do `temperature=0.01` and seeds 1 and 2 write?
#
# <details><summary>Answer</summary>
#
# The same text twice. Divided by 0.01, the difference between the likeliest word and the second becomes so large that the likeliest one always
# wins, whatever the seed.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Qué escriben `temperature=0.01` y las semillas 1 y 2?
#
# <details><summary>Respuesta</summary>
#
# El mismo texto dos veces. Dividida entre 0,01, la diferencia entre la palabra más probable y la segunda es tan grande que siempre gana la más
# probable, con cualquier semilla.
# </details>

# %% [markdown] lang="en"
# ## 9. Attention highlights and next-word probabilities
#
# *Class:* `print_probs` shades the earlier words by attention and lists the likeliest next words.
#
# *Here:* `explain` returns the same figures for every written word, with the attention averaged over all blocks and heads. Below is the word of
# which the model was least certain, with its ten likeliest alternatives and the text before it: the redder a word, the more attention it got.
# `▸` stands for `[BOS]`. In a terminal `wine-gpt generate RUN --explain` prints them, and `wine-gpt explore
# RUN` opens a page on which words can be clicked, heads switched off and other words taken.
# %% [markdown] lang="es"
# ## 9. Atención y probabilidades de la palabra siguiente
#
# *Clase:* `print_probs` sombrea las palabras anteriores según la atención y enumera las palabras siguientes más probables.
#
# *Aquí:* `explain` devuelve las mismas cifras para cada palabra escrita, con la atención promediada sobre todos los bloques y cabezas. Abajo está
# la palabra de la que el modelo estaba menos seguro, con sus diez alternativas más probables y el texto anterior: cuanto más roja una palabra, más
# atención recibió. `▸` representa `[BOS]`. En una terminal `wine-gpt generate RUN --explain` las imprime, y
# `wine-gpt explore RUN` abre una página en la que se puede hacer clic en las palabras, apagar cabezas y elegir otras palabras.

# %%
explanation = wine_gpt.explain(RUN, "wine review : italy :", seed=1)
step = min(explanation.steps, key=lambda step: step.alternatives[0][1])
pd.Series(dict(step.alternatives))[::-1].plot.barh(figsize=(5, 3), xlabel="probability", ylabel="next word")
print(f"{step.word}: {step.probability:.0%}, the model's choice number {step.rank}")

# %%
shade = '<span style="background: rgb(225 87 89 / {:.0%})">{}</span>'
weights = [weight / max(step.attention) for weight in step.attention]
earlier = zip(weights, map(escape, explanation.words), strict=False)
HTML("".join(shade.format(weight, word) for weight, word in earlier) + f" <b>{escape(step.word)}</b>")

# %% [markdown] lang="en"
# **Exercise.** Is attention the *reason* for a word?
#
# <details><summary>Answer</summary>
#
# No. It says which earlier positions the heads read from, not what they took from there or how it changed the next word. Switch heads off in
# `wine-gpt explore` and watch the loss: some heads with strong attention hardly matter.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Es la atención la *razón* de una palabra?
#
# <details><summary>Respuesta</summary>
#
# No. Dice de qué posiciones anteriores leen las cabezas, no qué tomaron de ahí ni cómo cambió la palabra siguiente. Apaga cabezas en
# `wine-gpt explore` y mira la pérdida: algunas cabezas con mucha atención apenas importan.
# </details>

# %% [markdown] lang="en"
# ## 10. Beyond the class: how good is the loss?
#
# `evaluate_model` scores the test split, by which nothing was chosen, and compares the loss with a uniform guess and with models that only count
# how often a word follows the words before it: none (`unigram`), one (`bigram`) or four (`5-gram`), smoothed by Kneser and Ney's method for
# sequences that were never seen. It also compares written reviews with real ones: see section 11.
# %% [markdown] lang="es"
# ## 10. Más allá de la clase: ¿qué tan buena es la pérdida?
#
# `evaluate_model` evalúa la parte de prueba, con la que no se eligió nada, y compara la pérdida con la de una elección uniforme y la de modelos que
# solo cuentan cuántas veces sigue una palabra a las anteriores: a ninguna (`unigram`), a una (`bigram`) o a cuatro (`5-gram`), suavizados con el
# método de Kneser y Ney para las secuencias nunca vistas. Además compara las reseñas escritas con las reales: véase la sección 11.

# %%
report = wine_gpt.evaluate_model(RUN, texts=TEXTS)
losses = pd.Series({**report.baselines, "this model": report.likelihood.nats_per_word})
losses.plot.bar(figsize=(5, 3), ylabel="nats per word", rot=30)
losses.round(3).to_frame("nats per word")

# %% [markdown] lang="en"
# **Exercise.** Where does the uniform guess's loss come from, and what does a bigram model of 2.7 nats know?
#
# <details><summary>Answer</summary>
#
# The guess gives each of the V words of the vocabulary the probability 1/V, so its loss is −ln(1/V) = ln V: 7.5 for the sample's 1,842. A
# loss of L nats is as uncertain as a choice among e^L equally likely words: the bigram model, which sees one word back, is left with about 15.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿De dónde sale la pérdida de la elección uniforme y qué sabe un modelo de bigramas con 2,7 nats?
#
# <details><summary>Respuesta</summary>
#
# La elección uniforme da a cada una de las V palabras del vocabulario la probabilidad 1/V, así que su pérdida es −ln(1/V) = ln V: 7,5 con las
# 1842 de la muestra. Una pérdida de L nats equivale a elegir entre e^L palabras igual de probables: al modelo de bigramas, que ve una palabra
# hacia atrás, le quedan unas 15.
# </details>

# %% [markdown] lang="en"
# ## 11. Beyond the class: does it copy?
#
# For each text, the longest run of words that also stands in a training review. Real reviews have such runs too (stock phrases, and in the
# synthetic sample the grammar's sentences), so `real`, the figure of test reviews, is the natural level for `generated`, the reviews that the
# model writes. `continued` is the stricter test: the model gets the first half of training reviews, and only its continuation is compared. Half a
# review has fewer words, so its natural level is below `real`.
# %% [markdown] lang="es"
# ## 11. Más allá de la clase: ¿copia?
#
# Para cada texto, la secuencia de palabras más larga que también está en una reseña de entrenamiento. Las reseñas reales también tienen
# secuencias así (frases hechas y, en la muestra sintética, las oraciones de la gramática), así que `real`, la cifra de las reseñas de prueba, es
# el nivel natural para `generated`, las que escribe el modelo. `continued` es la prueba más estricta: el modelo recibe la primera mitad de
# reseñas de entrenamiento y solo se compara su continuación. Media reseña tiene menos palabras, así que su nivel natural es menor que `real`.

# %%
pd.DataFrame(
    {
        kind: {"longest run, mean": result.mean_longest, "fraction with 10 words or more": result.share_10}
        for kind, result in report.copying.items()
    }
).round(2)

# %% [markdown] lang="en"
# **Exercise.** The mean of `generated` is below `real`. Does that prove that the model copies no review?
#
# <details><summary>Answer</summary>
#
# No. A mean can hide one text that is copied whole, so look at the longest run too: `report.copying["generated"].longest`. And 100 texts say
# little about the next 10,000.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** La media de `generated` está por debajo de `real`. ¿Demuestra eso que el modelo no copia ninguna reseña?
#
# <details><summary>Respuesta</summary>
#
# No. Una media puede esconder un texto copiado entero, así que mira también la secuencia más larga: `report.copying["generated"].longest`. Y 100
# textos dicen poco de los próximos 10 000.
# </details>

# %% [markdown] lang="en"
# ## 12. Beyond the class: an adapter for one variety
#
# `finetune` trains a LoRA adapter, a small number of weights beside the model, on the reviews of one variety and compares it with the base on
# unseen reviews of that variety. A perplexity change of −3% means that the next word is as uncertain as among 3% fewer words. The interval says how
# much the figure depends on which reviews happen to be in the test split: it draws them again with replacement many times (*bootstrap*).
# %% [markdown] lang="es"
# ## 12. Más allá de la clase: un adaptador para una variedad
#
# `finetune` entrena un adaptador LoRA, un pequeño número de pesos junto al modelo, con las reseñas de una variedad y lo compara con la base en
# reseñas no vistas de esa variedad. Un cambio de −3 % en la perplejidad significa que la palabra siguiente es tan incierta como entre un 3 % menos de
# palabras.
# El intervalo dice cuánto depende la cifra de qué reseñas cayeron en la parte de prueba: las sortea de nuevo muchas veces, con reemplazo
# (*bootstrap*).

# %%
(adapter,) = wine_gpt.finetune(RUN, variety="Chardonnay", output_dir=f"{RUN}-lora")
change = adapter.comparison.whole.perplexity_change
print(f"change of the perplexity {change.value:+.1%}, 95% interval {change.low:+.1%} to {change.high:+.1%}")
print(adapter.reviews["test"], "test reviews")

# %% [markdown] lang="en"
# **Exercise.** What decides the width of the interval, and when would you not publish an adapter?
#
# <details><summary>Answer</summary>
#
# The number of unseen reviews of that variety. If the interval contains 0, the test can't tell the adapter from the base: `publish` leaves out
# adapters that are not better.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Qué decide el ancho del intervalo y cuándo no publicarías un adaptador?
#
# <details><summary>Respuesta</summary>
#
# El número de reseñas no vistas de esa variedad. Si el intervalo contiene el 0, la prueba no distingue el adaptador de la base: `publish` omite
# los adaptadores que no son mejores.
# </details>

# %% [markdown] lang="en"
# ## 13. Beyond the class: publish
#
# A dry run writes everything that would be uploaded to `RUN/publish`: model, tokenizer, model card, a notebook of five cells that the Hub opens
# in Colab, the adapters and, with `space="org/name"`, the demo. Without `dry_run` and after `hf auth login` it makes one commit for each
# repository; put your account's name in place of `org`. A model trained on Kaggle's reviews has their license, CC BY-NC-SA 4.0.
# %% [markdown] lang="es"
# ## 13. Más allá de la clase: publicar
#
# Un ensayo (`dry_run`) escribe en `RUN/publish` todo lo que se subiría: modelo, tokenizador, ficha del modelo, un cuaderno de cinco celdas que el
# Hub abre en Colab, los adaptadores y, con `space="org/nombre"`, la demostración. Sin `dry_run`, y después de `hf auth login`, hace un solo
# *commit* por repositorio; escribe el nombre de tu cuenta en lugar de `org`. Un modelo entrenado con las reseñas de Kaggle tiene la
# licencia de ellas, CC BY-NC-SA 4.0.

# %%
staged = wine_gpt.publish(RUN, "org/wine-gpt", adapters=f"{RUN}-lora", dry_run=True)
print([repo.name for repo in staged])
print(*sorted(path.name for path in staged[0].folder.iterdir()), sep="\n")

# %% [markdown] lang="en"
# **Exercise.** Which of these files lets a stranger test whether a sentence is from the training reviews?
#
# <details><summary>Answer</summary>
#
# `training_ngrams.safetensors`, the index with which the demo answers whether a text is copied. For your own data `publish` leaves it out unless
# you pass `index=True`, because it would answer the same question about private texts.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** ¿Cuál de estos archivos permite a cualquiera comprobar si una oración es de las reseñas de entrenamiento?
#
# <details><summary>Respuesta</summary>
#
# `training_ngrams.safetensors`, el índice con el que la demostración responde si un texto está copiado. Con tus propios datos `publish` lo omite,
# salvo con `index=True`, porque respondería lo mismo sobre textos privados.
# </details>

# %% [markdown] lang="en"
# ## 14. Beyond the class: which grape is it?
#
# A pretrained GPT can be fine-tuned for other tasks. `classify` replaces the layer for the next word by one with an output for each grape and
# trains the model to name the grape from the description alone. On the same unseen reviews it is compared with guessing the commonest grape and
# with a logistic regression that only sees how often each word is in the review, rare words with more weight (*TF-IDF*). `accuracy` is the fraction
# of right answers. `macro_f1` is the mean over the grapes of F1, which falls if reviews of the grape are missed and if others are taken for it, so a
# rare grape counts as much as a common one. `nats_per_review` is the mean of −ln of the right grape's probability.
# %% [markdown] lang="es"
# ## 14. Más allá de la clase: ¿qué uva es?
#
# Un GPT preentrenado se puede ajustar a otras tareas. `classify` reemplaza la capa de la palabra siguiente por una con una salida por uva y entrena el
# modelo para nombrar la uva solo con la descripción. En las mismas reseñas no vistas se compara con adivinar la uva más común y con una regresión
# logística que solo ve cuántas veces aparece cada palabra en la reseña, las raras con más peso (*TF-IDF*). `accuracy` es la fracción de aciertos.
# `macro_f1` es la media sobre las uvas de F1, que baja si se pasan por alto reseñas de la uva y si se le atribuyen otras, así que una uva rara
# cuenta tanto como una común. `nats_per_review` es la media de −ln de la probabilidad de la uva correcta.

# %%
classifier = wine_gpt.classify(RUN, "variety", output_dir=f"{RUN}-variety")
scores = {**classifier.baselines, "this classifier": classifier.test}
pd.DataFrame({name: score.figures() for name, score in scores.items()}).T.round(3)

# %%
find = pipeline("text-classification", model=f"{RUN}-variety")
pd.DataFrame(find("Lime and slate on the nose, with a hint of petrol.", top_k=3)).round(3)

# %% [markdown] lang="en"
# **Exercise.** A method that only counts words can do as well as a network, or better. What could the network know that it can't?
#
# <details><summary>Answer</summary>
#
# The order of the words ("not sweet, dry" and "not dry, sweet" have the same counts), and what pretraining taught about words that few labeled
# reviews have. For the grape, single words such as "petrol" tell most, and counting them needs few reviews. `docs/classification.md` has the
# figures on real reviews.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** Un método que solo cuenta palabras puede acertar tanto como una red, o más. ¿Qué podría saber la red que él no sabe?
#
# <details><summary>Respuesta</summary>
#
# El orden de las palabras («no dulce, seco» y «no seco, dulce» tienen las mismas cuentas), y lo que el preentrenamiento enseñó sobre palabras que
# están en pocas reseñas con etiqueta. Para la uva, palabras sueltas como «petrol» dicen casi todo, y contarlas requiere pocas reseñas.
# `docs/classification.md` tiene las cifras con reseñas reales.
# </details>

# %% [markdown] lang="en"
# ## 15. Beyond the class: which reviews are like this one?
#
# `similar` turns each description into a vector, its *embedding*: the mean of the model's last hidden states over the words, centered and scaled
# (*whitened*) so that the cosine of two descriptions is around 0 if they have nothing in common, and 1 if they are equal. No training is needed.
# The next cell prints the cosine and the review. The first call embeds all training reviews and saves them in
# `RUN/similarity`, with a model that `SentenceTransformer` loads without this package.
# %% [markdown] lang="es"
# ## 15. Más allá de la clase: ¿qué reseñas se parecen a esta?
#
# `similar` convierte cada descripción en un vector, su *embedding*: la media de los últimos estados ocultos del modelo sobre las palabras, centrada
# y escalada (*whitening*) para que el coseno de dos descripciones ronde 0 si no tienen nada en común y sea 1 si son iguales. No hace falta
# entrenar. La celda siguiente imprime el coseno y la reseña. La primera llamada calcula los vectores de todas las
# reseñas de entrenamiento y los guarda en `RUN/similarity`, con un modelo que `SentenceTransformer` carga sin este paquete.

# %%
for found in wine_gpt.similar(RUN, "Lime and slate on the nose, with a hint of petrol.", k=3):
    print(f"{found.similarity:.2f}  {found.text}\n")

# %% [markdown] lang="en"
# Is the nearest training review of the same grape? The next cell asks this for 100 unseen reviews, of the embeddings and of TF-IDF.
# %% [markdown] lang="es"
# ¿Es de la misma uva la reseña de entrenamiento más cercana? La celda siguiente lo pregunta para 100 reseñas no vistas, con los vectores del
# modelo y con TF-IDF.

# %%
train, test = reviews.splits["train"].to_pandas(), reviews.splits["test"].to_pandas()[:100]
index = load_index(RUN)
embedded = index.model.encode(test.description.tolist()) @ index.embeddings.T
words = TfidfVectorizer(sublinear_tf=True).fit(train.description)
counted = (words.transform(test.description) @ words.transform(train.description).T).toarray()
nearest = {"embeddings": embedded.argmax(1), "TF-IDF": counted.argmax(1)}
same = {name: (train.variety.to_numpy()[rows] == test.variety).mean() for name, rows in nearest.items()}
pd.Series(same).to_frame("fraction of the same grape")

# %% [markdown] lang="en"
# **Exercise.** "Crisp, with lemon" and "lively, full of citrus" have no word in common. Which method can find them alike? Why does the other one
# find the grape more often?
#
# <details><summary>Answer</summary>
#
# The embeddings can, because words that stand in the same contexts get similar states. TF-IDF gives the two a cosine of 0. But rare words give a
# grape away, such as "petrol" for Riesling, and TF-IDF gives them the highest weight. In the mean over all words they hardly count, and the
# states are trained to predict the next word, not to compare reviews. `finetune_embeddings` trains for that; `docs/similarity.md` has the figures.
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** «Crisp, with lemon» y «lively, full of citrus» no tienen ninguna palabra en común. ¿Qué método puede ver que se parecen? ¿Por
# qué el otro acierta más veces la uva?
#
# <details><summary>Respuesta</summary>
#
# Los vectores del modelo pueden, porque las palabras que están en los mismos contextos reciben estados parecidos. TF-IDF les da un coseno de 0.
# Pero las palabras raras delatan la uva, como «petrol» la Riesling, y TF-IDF les da el mayor peso. En la media sobre todas las palabras apenas
# cuentan, y los estados se entrenaron para predecir la palabra siguiente, no para comparar reseñas. `finetune_embeddings` entrena para eso;
# `docs/similarity.md` tiene las cifras.
# </details>

# %% [markdown] lang="en"
# ## 16. Beyond the class: asking about a review
#
# A model that only continues texts can answer a multiple-choice question without training. The question is the beginning of a sentence, such as
# "flavors of", and the answer is the choice that the model finds likeliest after the review and the question. `log_likelihood` is the natural
# logarithm of that probability, the sum over the choice's words (`tokens`), so a longer choice tends to have a lower one. `without_review` is the
# same without the review, and `probability` compares the choices with each other. `fruit`, `food` and `ready` have a question and choices of
# their own: `fruit` asks how "flavors of" continues.
# %% [markdown] lang="es"
# ## 16. Más allá de la clase: preguntar sobre una reseña
#
# Un modelo que solo continúa textos puede responder una pregunta de opción múltiple sin entrenar. La pregunta es el comienzo de una oración, como
# «flavors of», y la respuesta es la opción que el modelo cree más probable después de la reseña y la pregunta. `log_likelihood` es el logaritmo
# natural de esa probabilidad, la suma sobre las palabras de la opción (`tokens`), así que una opción más larga suele tener uno menor.
# `without_review` es lo mismo sin la reseña, y `probability` compara las opciones entre sí. `fruit`, `food` y `ready` tienen pregunta y opciones
# propias: `fruit` pregunta cómo sigue «flavors of».

# %%
unseen = reviews.splits["test"][0][COMPOSED]
answers = wine_gpt.ask(RUN, unseen, "fruit")
print(unseen)
pd.DataFrame(answers).round(2)

# %%
pd.DataFrame(wine_gpt.ask(RUN, unseen, "on the", ["persistent finish", "short finish"])).round(2)

# %% [markdown] lang="en"
# **Exercise.** The model has an answer to every question. What do you compare it with before you believe it?
#
# <details><summary>Answer</summary>
#
# With the answer without the review, and with a count: the most frequent answer in the training reviews of the same grape. Of 50 questions about
# the sample, whose grammar knows the truth, three such models answer 41 right on average, the count 38, and the most frequent answer alone 26. Of a question in other
# words, such as "what should I eat with it?", it understands nothing (`docs/questions.md`).
# </details>
# %% [markdown] lang="es"
# **Ejercicio.** El modelo tiene una respuesta para cada pregunta. ¿Con qué la comparas antes de creerla?
#
# <details><summary>Respuesta</summary>
#
# Con la respuesta sin la reseña y con una cuenta: la respuesta más frecuente en las reseñas de entrenamiento de la misma uva. De 50 preguntas sobre
# la muestra, cuya gramática sabe la verdad, tres modelos así aciertan 41 en promedio, la cuenta 38 y la respuesta más frecuente por sí sola 26. Una pregunta con otras
# palabras, como «what should I eat with it?», no la entiende en absoluto (`docs/questions.md`).
# </details>
