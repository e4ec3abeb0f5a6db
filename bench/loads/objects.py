# objects.py - dicts, lists, strings and small classes, made, sorted, written as JSON, read back and dropped.
import json
import re
import sys


class Item:
    def __init__(self, number):
        self.number = number
        self.name = f"item {number * 7919 % 1000003}"
        self.tags = [f"tag{number % n}" for n in (2, 3, 5, 7)]


count = int(sys.argv[1])
items = [Item(number) for number in range(count)]
by_name = {item.name: item for item in items}
names = sorted(by_name)
text = json.dumps([{"name": name, "tags": by_name[name].tags} for name in names])
back = json.loads(text)
words = {}
for word in re.findall(r"[a-z]+\d*", text):
    words.setdefault(word, []).append(len(word))
joined = "".join(name + ";" for name in names)
del items[::2], by_name
print(len(back), len(words), len(joined), sum(item.number for item in items))
