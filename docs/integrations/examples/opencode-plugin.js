// An OpenCode plugin: when a session falls idle, a toast says what the month has used, if that changed.
//
// Copy it with snapshot.mjs into ~/.config/opencode/plugins/. It reads a file and starts nothing.

import { home, line } from "./snapshot.mjs";

export const TokenLedger = async ({ client }) => {
  let last = "";
  return {
    event: async ({ event }) => {
      if (event.type !== "session.idle") return;
      const { state, text, failed_checks: failed } = line(home());
      if (!text || text === last) return;
      last = text;
      const variant = state === "ok" && !failed ? "info" : "warning";
      try {
        await client.tui.showToast({ body: { message: text, variant } });
      } catch {
        // a server without a screen: nobody to show it to
      }
    },
  };
};
