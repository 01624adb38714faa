"""The stand-in vendor: plays the sign-in servers that the vendors' CLIs ask for, in a process of its own.

It holds no real account and gives out no real token: any e-mail and any six digits sign in, and every token is marked
DUMMY. It listens on unix sockets only, answers TLS for the names that it serves with certificates of a CA whose key
never leaves its memory, and is strict where the real servers are: redirect, PKCE, client, single-use codes.

- `server`: the three sockets; `certificates`: the CA; `control`: what the robot and tests may ask and set.
- `sign_ins`: one person's way from the authorize request to the callback; `tokens`: codes, tokens and their rules.
- `answers`: what the models say; it is no model, and says the same to the same prompt.
- `vendors`: which names and paths there are, and what each answers.
"""
