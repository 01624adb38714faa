/* The stream that says when something has changed; losing it loses nothing, since the page also looks by itself. */

/** Call `onHint` after each hint of the stream at `path`, from `listen()` until `stop()`. */
export function hints(path, onHint) {
  let stream = null;
  return {
    get open() {
      return stream?.readyState === EventSource.OPEN;
    },
    listen() {
      if (stream && stream.readyState !== EventSource.CLOSED) {
        return;
      }
      stream = new EventSource(path);
      let first = true;
      stream.addEventListener("changed", () => {
        // the first says only that the stream has begun, and the page has just looked
        if (!first) {
          onHint();
        }
        first = false;
      });
      stream.addEventListener("error", () => {
        first = false;
        onHint();
      });
    },
    stop() {
      stream?.close();
    },
  };
}
