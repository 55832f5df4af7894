// Brings the part `#live` of a page up to date every so many seconds, without losing what is open or focused in it.
"use strict";
(() => {
  const seconds = () => Number(document.getElementById("live")?.dataset.live || 0);

  async function refresh() {
    const part = document.getElementById("live");
    const selecting = String(document.getSelection()) !== "";
    if (part && !document.hidden && !selecting && !part.contains(document.activeElement)) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.redirected) { location.reload(); return; }
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById("live");
          for (const open of part.querySelectorAll("details[open][id]")) {
            const same = fresh?.querySelector(`#${CSS.escape(open.id)}`);
            if (same) same.open = true;
          }
          if (fresh && fresh.innerHTML !== part.innerHTML) {
            part.replaceWith(fresh);
            document.title = page.title;
          }
        }
      } catch { /* The server is away for a moment: the next round tries again. */ }
    }
    if (seconds()) setTimeout(refresh, seconds() * 1000);
  }
  if (seconds()) setTimeout(refresh, seconds() * 1000);
})();
