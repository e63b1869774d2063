"""Recognize texts of Kaggle's wine reviews, whatever their file is called and in whatever form it has them."""

from collections.abc import Iterable
from hashlib import blake2b

# a text is compared by its last words, so that it may begin with a header
WORDS, DIGEST_BYTES = 12, 6
# BLAKE2b of the last words of 256 reviews among the first 8,000. Of 2,000 reviews chosen at random from the dataset's
# 120,000, at least one is among them with a probability of 98%.
DIGESTS = """
0417ffc46ed3 7f45e14acdd5 a73c483adea8 84fa2b67da21 ab2ea72f514a 27c1a56bcece 8439310ffa3d 7b10c644248d 6675eb6d3217
63c4c486a395 24cfe460dba2 3fe0e0d768d9 155f8c768aa6 c0cb87cddc4c 8e0c8a748a7d f8c60d7cb449 6f713812f835 34835a737c28
de10eef65654 5ede60e11cd0 4f50504dafc8 d1e504a96e69 a70759fbb5f6 43b3fc083465 453e74506f18 14944e00d723 82d23b0059af
ffa888e2bb4a ba96478a7f32 16ea4d47414b 02ff7be74205 90eeb158a9ac 4028e4d4b334 5dbe4adac6f1 c444f142da9b 9c2e2febc4f0
94f42e7bf433 e0a232f8a7d3 9c49b32925cd 35d1a3fad422 87ae6dc8ab76 275689591d07 4bc13bfef199 0bd83bd2a4d0 7a781e75255b
a0171153fed9 34c0c58b2585 985da3b88b70 7deb2b2e9ba4 39650d8a5bec 30afe832c569 cbf808c5e9f9 3678cd4ae973 e8000c5aab11
8be569399ce0 98d5facf2c35 82324e9378ef 12fda9eb2df5 e8ee9b1690db 89af91389553 67386c844864 7de394a7fab7 c8f4f98bedb5
1912b52f9745 d34c118e0234 318da6dcd39b 044acd128e62 06b843936231 a8a6a8014ea1 ce9ffc9824ca ecb55d9cacf7 f5640dad84ca
8d13a8b4088c 895f874e6528 f1f990caa05d b18344805976 da5554da8c9d 9baa6babdfb4 3f0cb1a7e2e2 5b14f0ef5953 4b01d4edd257
b15796e0c975 fd1b84e4072f bc57ac2a77e5 cc26eee9cc48 d117f42ba7e2 6b9e6ce230a5 af62ddb0c9d8 630df6caf89a fea73006e09c
ea97c8379fad 03684f71a5df e7bc746d1d30 0fcb7d73c363 44de49c1cc46 48dbfc824e73 91db0a81fb66 d87fd83fe8e5 70f004ed5b45
168bf3cfe3ee 641d7b472ed0 34c3905fb930 490a6e4cc5b4 f4e7ffca61ff 3489443b0c57 a67cf754ca5f 69deb4a3ca17 c053837ecbdf
0068f9490a98 d1de38233597 e8c0627f2d1d 2cc6aeb27fd9 f2161c050bd8 86c27774b3cd 7f17803aa0bf 33d20b9cf9d7 1cf7e0c77386
3339c2b019e2 1d6bcf5a352c bf9ad0db1713 e92b77ef91b3 754f545395d9 340cc6312f85 05553caa5cd5 40212e271798 107c78f18be6
31d632b0f47a ca35281535da 811e4bea05cd 674ec165824f a9b05f93fbd8 0f12fc3c7ef0 7d29deae03d7 72d42939ab6a a29651e2b6b0
4b1b5c671a36 5548c683b137 0cc050915dfe 9aa889dfba29 78feceb690ef 80fef68aa68c f8f91f1b887a 39a636f6e1a0 f472c0f2dfef
6eadf413500a a8548a730bb4 778185b1ecaf 158738c7be12 d60f813f8dfb 8d94ad9abc63 fbbe3b48a476 0605d9e6c90f 6a908bac7853
caa3b4ce464b cb03b306faec 829275be30b3 360fb01602b4 8bbe50457f0a 873f3ea39033 23f0fd00e051 c2229ce3b120 7fc676ac3ef8
2326bda3295f 88584e036e48 6f77225bed18 a4c1f50333a2 269b69ae54db 58902bb8c26e ee7c609aaee4 199b81135595 70fd6caec6ae
de6dfbaec726 08b8aad3cc0a 8747fc420ab1 f3ec7adf5330 e9924987707f 0abc3b0fd43e ada634055d00 c9abaeb5dbdd e4b1fe85c6e3
1cc48e7ed056 8eba274fc845 8a3adaef3e4a 3427e333ed36 98de5491f761 ac6654c99f17 bba07d66990d 026886a18e2a 48b6e38954eb
be4c8c57d623 989914cc2629 be3d19a797a8 d67f2a0c5693 5287a4912f2a 9c52dcf98a4f e431d5c5386d 5a006a650efe 21f2b495910d
a4786faa6303 1b8c3cecb244 17ce8237f405 339a88fe52ae ef2d1aedde86 9e2c8e8ed823 18841d6b4b59 676520d60588 fbb2876a74b7
81c23a03decf 24a77ee4e459 9207d6b868eb bcad9e269f99 68aa63d24993 f8f40eb8e661 c43d9a5dcb1e 0688ff6cb238 06fa84ef6a8a
fe793b00f440 ede52c7d85c3 43fd9f9742c7 332d08e1dfd1 6ab141a7af88 f010646d4bdf 05b9490cc236 a12da0fca55f b1d09feb8a26
e5167f3b3697 2d593b12a742 534113cd7907 d38c6ab21f61 21e845daa732 1a7719d61726 7dd248ea792d f35ff8f97981 84a1a0cb1192
6e6d4c27b214 08447e738e8e 811570bf72e4 6db37d26ac48 5d058460c9f8 bceb182a7f24 035ae34879dd ce60a518f5d5 4f37f487399c
655dbcc77dcd f2dd3953f758 9ad165df4b00 4d5f7f3f056f 04c6b07b62a8 c71abb29fa58 fe03c50edb34 cade2bb093e8 ff73f2707f08
0b80b8c822cc 844fff865e4a 01e8c83b8e84 ab0bcc0a7e04
"""
KNOWN = frozenset(DIGESTS.split())


def is_kaggle_text(text: str) -> bool:
    """Return whether a text is one of the known reviews; case and white space do not matter."""
    words = " ".join(text.lower().split()[-WORDS:])
    return blake2b(words.encode(), digest_size=DIGEST_BYTES).hexdigest() in KNOWN


def has_kaggle_texts(texts: Iterable[str]) -> bool:
    """Return whether one of the texts is one of the known reviews."""
    return any(map(is_kaggle_text, texts))
