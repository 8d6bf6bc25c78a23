#!/usr/bin/env python3
"""PyTorch baseline for the DARTS recurrent search step, written from the specification in ../docs/darts.md (part B).

  python torch_darts_rnn.py step   --order 1 --batch 64 --hidden 300 --window 35 --steps 3     one JSON object
  python torch_darts_rnn.py eval   --batch 64 --hidden 850 --window 35 --steps 3                DARTS_V2 cell
  python torch_darts_rnn.py golden OUT.safetensors --hidden 8 --vocab 50 ...   dropout off, f64 kept as f32

Dropout masks are drawn as in the specification for `step` and `eval`, and are off for `golden`.
"""
import argparse, json, resource
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_darts import timed

OPS = ["none", "tanh", "relu", "sigmoid", "identity"]
ACT = dict(tanh=torch.tanh, relu=F.relu, sigmoid=torch.sigmoid, identity=lambda x: x)
V2 = [("sigmoid", 0), ("relu", 1), ("relu", 1), ("identity", 1), ("tanh", 2), ("sigmoid", 5), ("tanh", 3), ("relu", 5)]


def mask(shape, p, like):
    return like.new_empty(shape).bernoulli_(1 - p) / (1 - p)


class Language(nn.Module):
    """Tied embedding, one recurrent cell (a search cell, or a genotype's), decoder."""

    def __init__(self, vocab, hidden, nodes=8, genotype=None, drop=(0.75, 0.25, 0.75, 0.2, 0.0)):
        super().__init__()
        self.hidden, self.nodes, self.genotype, self.drop = hidden, nodes, genotype, drop
        u = lambda *s: nn.Parameter(torch.empty(*s).uniform_(-0.04, 0.04))
        self.embedding = u(vocab, hidden)
        self.bias = nn.Parameter(torch.zeros(vocab))
        self.w0 = u(2 * hidden, 2 * hidden)
        self.ws = nn.ParameterList([u(hidden, 2 * hidden) for _ in range(nodes)])
        if genotype is None:
            self.bn = nn.BatchNorm1d(hidden, affine=False)
            self.alpha = nn.Parameter(1e-3 * torch.randn(nodes * (nodes + 1) // 2, len(OPS)))

    def weights(self):
        return [p for n, p in self.named_parameters() if n != "alpha"]

    def cell(self, x, h, mx, mh, probs):
        gate = lambda c, cand, s: s + c.sigmoid() * (cand - s)
        c, cand = torch.cat([x * mx, h * mh], 1).mm(self.w0).chunk(2, 1)
        s = gate(c, cand.tanh(), h)
        if self.genotype is not None:
            states = [s]
            for i, (act, p) in enumerate(self.genotype):
                c, cand = (states[p] * mh).mm(self.ws[i]).chunk(2, 1)
                states.append(gate(c, ACT[act](cand), states[p]))
        else:
            states, row = [self.bn(s)], 0
            for i in range(self.nodes):
                stack = torch.stack(states)
                both = (stack * mh).reshape(-1, self.hidden).mm(self.ws[i])
                c, cand = both.view(len(states), -1, 2 * self.hidden).chunk(2, 2)
                c = c.sigmoid()
                total = 0
                for k, name in enumerate(OPS):
                    if name != "none":
                        mixed = stack + c * (ACT[name](cand) - stack)
                        total = total + (probs[row:row + len(states), k, None, None] * mixed).sum(0)
                row += len(states)
                states.append(self.bn(total))
        return torch.stack(states[1:]).mean(0)

    def forward(self, tokens, h):
        out_p, h_p, x_p, in_p, e_p = self.drop if self.training else (0,) * 5
        e = self.embedding
        if e_p:
            e = e * mask((e.shape[0], 1), e_p, e)
        t, b = tokens.shape
        x = F.embedding(tokens, e)
        x = x * mask((1, b, self.hidden), in_p, x) if in_p else x
        mx = mask((b, self.hidden), x_p, x) if x_p else 1.0
        mh = mask((b, self.hidden), h_p, x) if h_p else 1.0
        probs = self.alpha.softmax(-1) if self.genotype is None else None
        hs = []
        for i in range(t):
            h = self.cell(x[i], h, mx, mh, probs)
            hs.append(h)
        raw = torch.stack(hs)
        out = raw * mask((1, b, self.hidden), out_p, raw) if out_p else raw
        return F.linear(out, self.embedding, self.bias), raw, h


def nll(net, batch, h, slow=0.0):
    logits, raw, _ = net(batch[0], h)
    loss = F.cross_entropy(logits.flatten(0, 1), batch[1].flatten())
    return loss + slow * (raw[1:] - raw[:-1]).pow(2).mean() if slow else loss


def alpha_gradient(net, train, valid, h, order, eta, clip=0.25, decay=5e-7):
    if order == 1:
        return torch.autograd.grad(nll(net, valid, h), [net.alpha])[0]
    ws = net.weights()
    with torch.no_grad():
        saved = [w.clone() for w in ws]
    g = torch.autograd.grad(nll(net, train, h), ws)
    norm = lambda gs: torch.cat([x.reshape(-1) for x in gs]).norm()
    cc = min(1.0, float(clip / (norm(g) + 1e-6)))
    with torch.no_grad():
        for w, x in zip(ws, g):
            w -= eta * (cc * x + decay * w)
    ga, *v = torch.autograd.grad(nll(net, valid, h), [net.alpha] + ws)
    cv = min(1.0, float(clip / (norm(v) + 1e-6)))
    v = [cv * x for x in v]
    eps = 0.01 / norm(v)
    halves = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, s, x in zip(ws, saved, v):
                w.copy_(s + sign * eps * x)
        halves.append(torch.autograd.grad(nll(net, train, h), [net.alpha])[0])
    with torch.no_grad():
        for w, s in zip(ws, saved):
            w.copy_(s)
    return ga - eta * cc * (halves[0] - halves[1]) / (2 * eps)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["step", "eval", "golden"])
    p.add_argument("out", nargs="?")
    sizes = dict(order=1, batch=64, hidden=300, vocab=10000, window=35, nodes=8, steps=3, seed=0, threads=0)
    for name, value in sizes.items():
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--device", default="cpu")
    args = p.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    dtype = torch.float64 if args.what == "golden" else torch.float32
    net = Language(args.vocab, args.hidden, args.nodes, V2 if args.what == "eval" else None).to(args.device, dtype)
    def batch():
        s = torch.randint(args.vocab, (args.window + 1, args.batch), device=args.device)
        return s[:-1], s[1:]
    train, valid = batch(), batch()
    h = torch.zeros(args.batch, args.hidden, device=args.device, dtype=dtype)
    if args.what == "golden":
        from safetensors.torch import save_file
        with torch.no_grad():
            for q in net.parameters():
                q.copy_((q * 5).float())          # larger weights than the initial ones, so that every path matters
        net.drop = (0,) * 5
        names = [n for n, _ in net.named_parameters()]
        logits, raw, last = net(train[0], h)
        loss = F.cross_entropy(logits.flatten(0, 1), train[1].flatten())
        grads = torch.autograd.grad(loss, list(net.parameters()))
        t = {"train.x": train[0], "train.y": train[1], "valid.x": valid[0], "valid.y": valid[1],
             "loss": loss, "hidden": last}
        t.update({"param." + n: q for n, q in net.named_parameters()})
        t.update({"grad." + n: g for n, g in zip(names, grads)})
        for order in (1, 2):
            t[f"order{order}.alpha"] = alpha_gradient(net, train, valid, h, order, 20.0)

        def narrow(v):
            return v.detach().float().contiguous() if v.is_floating_point() else v.clone().contiguous()

        return save_file({k: narrow(v) for k, v in t.items()}, args.out,
                         metadata=dict(hidden=str(args.hidden), nodes=str(args.nodes), eta="20", clip="0.25",
                                       weight_decay="5e-7", dropout="0"))
    w_opt = torch.optim.SGD(net.weights(), 20.0, weight_decay=5e-7)
    a_opt = torch.optim.Adam([net.alpha], 3e-3, weight_decay=1e-3) if args.what == "step" else None

    def step():
        if a_opt:
            net.alpha.grad = alpha_gradient(net, train, valid, h, args.order, 20.0).detach()
            a_opt.step()
        w_opt.zero_grad(set_to_none=True)
        nll(net, train, h, 1e-3).backward(inputs=net.weights())
        nn.utils.clip_grad_norm_(net.weights(), 0.25)
        w_opt.step()
    secs = timed(step, args.steps, args.device)
    print(json.dumps(dict(what="rnn_" + args.what, order=args.order, batch=args.batch, hidden=args.hidden,
                          window=args.window, seconds=secs, params=sum(q.numel() for q in net.weights()),
                          peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))


if __name__ == "__main__":
    main()
