#!/usr/bin/env python3
"""Two small trainings in double precision, written from the formulas and not from the C code.

python3 train_regression.py > train_regression.h
Full batches, so the order of rows does not matter. Logistic: SGD with momentum and l2. MLP: Adam with l2.
The penalty l2/2 |W|^2 is on weights only. Flat parameters: W row-major [out, in], b, layer by layer."""
import math

state = 20260


def uniform(low, high):
    global state
    state = (1103515245 * state + 12345) % 2**31
    return low + (high - low) * state / 2**31


def forward(layers, x):
    acts = [x]
    for l, (W, b) in enumerate(layers):
        z = [sum(w * a for w, a in zip(row, acts[-1])) + c for row, c in zip(W, b)]
        acts.append(z if l == len(layers) - 1 else [max(0.0, v) for v in z])
    return acts


def loss_and_delta(z, y):
    if len(z) == 1:
        p = 1 / (1 + math.exp(-z[0]))
        return -math.log(p if y == 1 else 1 - p), [p - y]
    e = [math.exp(v) for v in z]
    p = [v / sum(e) for v in e]
    return -math.log(p[y]), [v - (k == y) for k, v in enumerate(p)]


def gradients(layers, xs, ys):
    total, loss = [([[0.0] * len(W[0]) for _ in W], [0.0] * len(b)) for W, b in layers], 0.0
    for x, y in zip(xs, ys):
        acts = forward(layers, x)
        cost, delta = loss_and_delta(acts[-1], y)
        loss += cost / len(xs)
        for l in reversed(range(len(layers))):
            W, _ = layers[l]
            for o, d in enumerate(delta):
                total[l][1][o] += d / len(xs)
                for i, a in enumerate(acts[l]):
                    total[l][0][o][i] += d * a / len(xs)
            delta = [sum(W[o][i] * delta[o] for o in range(len(W))) * (acts[l][i] > 0) for i in range(len(W[0]))]
    return total, loss


def flat(layers):
    return [v for W, b in layers for v in [w for row in W for w in row] + b]


def unflat(values, widths):
    layers, at = [], 0
    for i, o in zip(widths, widths[1:]):
        layers.append(([values[at + r * i:at + (r + 1) * i] for r in range(o)], values[at + o * i:at + o * i + o]))
        at += o * (i + 1)
    return layers


def train(widths, classes, rows, epochs, l2, adam, rate):
    xs = [[round(uniform(-2, 2), 3) for _ in range(widths[0])] for _ in range(rows)]
    ys = [int(uniform(0, classes)) for _ in range(rows)]
    start = [round(uniform(-.7, .7), 4) for _ in range(sum(o * (i + 1) for i, o in zip(widths, widths[1:])))]
    is_weight = flat([([[1.0] * i for _ in range(o)], [0.0] * o) for i, o in zip(widths, widths[1:])])
    w, m, v, losses = start[:], [0.0] * len(start), [0.0] * len(start), []
    for t in range(1, epochs + 1):
        g, loss = gradients(unflat(w, widths), xs, ys)
        losses.append(loss)
        for j, d in enumerate(flat(g)):
            d += l2 * w[j] * is_weight[j]
            if adam:
                m[j] = .9 * m[j] + .1 * d
                v[j] = .999 * v[j] + .001 * d * d
                w[j] -= rate * (m[j] / (1 - .9**t)) / (math.sqrt(v[j] / (1 - .999**t)) + 1e-8)
            else:
                m[j] = .9 * m[j] + d
                w[j] -= rate * m[j]
    return [v for x in xs for v in x], ys, start, w, sum(losses) / epochs


def show(name, numbers, kind="float"):
    text = ", ".join(f"{v:.9g}f" if kind == "float" and not float(v).is_integer() else f"{v:g}" for v in numbers)
    print(f"static const {kind} {name}[] = {{{text}}};")


print("/* Made by train_regression.py: do not edit. */")
for name, arguments in (("logistic", ([5, 1], 2, 7, 12, .01, False, .1)), ("mlp", ([3, 4, 5, 3], 3, 9, 10, .02, True, .03))):
    x, y, start, end, loss = train(*arguments)
    show(f"{name}_x", x)
    show(f"{name}_y", y, "uint32_t")
    show(f"{name}_start", start)
    show(f"{name}_end", end)
    print(f"static const double {name}_loss = {loss:.12g};")
