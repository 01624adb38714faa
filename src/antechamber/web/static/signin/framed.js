/* The page in a frame of another site: an origin that the operator has listed, else the browser shows nothing of it. */

/** Whether the page is in a frame. */
export const framed = window.parent !== window;

const listed = (document.documentElement.dataset.embedOrigins ?? "").split(" ").filter(Boolean);

/** Return the origin of the page around this one, where the browser says it; Firefox may not. */
export function around() {
  const origin = framed && location.ancestorOrigins?.[0];
  return origin && listed.includes(origin) ? origin : null;
}

/** Tell the page around this one that the session has ended, and how; nothing else is ever told, and to no other origin. */
export function tellEnd(session) {
  if (!framed) {
    return;
  }
  const told = around();
  for (const origin of told ? [told] : listed) {
    window.parent.postMessage({ type: "antechamber", event: "ended", session_id: session.session_id, status: session.status }, origin);
  }
}
