/* A real issuer for tests, `oidc-provider` from npm, on loopback: anybody who says who they are is who they say. */

import { createServer as createPlain } from "node:http";
import { createServer as createSecure } from "node:https";

import Provider from "./browser/npm/node_modules/oidc-provider/lib/index.js";

// the client's secret is told in the environment, as everybody may read a program's arguments
const { issuer, port, client, tls, also } = JSON.parse(process.env.ISSUER);

const claimsOf = (sub) => ({
  sub,
  email: `${sub}@example.com`,
  email_verified: !sub.startsWith("unverified"),
  name: `${sub[0].toUpperCase()}${sub.slice(1)} of the DUMMY name`,
  groups: sub.startsWith("op-") ? ["people", "operators"] : ["people"],
});

const provider = new Provider(issuer, {
  clients: [client],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  scopes: ["openid", "email", "profile", "groups"],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  cookies: { keys: [client.client_secret] },
  ...also,
});
const server = tls ? createSecure(tls, provider.callback()) : createPlain(provider.callback());
server.listen(port, "127.0.0.1", () => console.log("it listens"));
