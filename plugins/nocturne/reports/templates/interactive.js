// Charts become interactive: plotly.js is unpacked from the page itself, then each drawing is replaced by its live figure.
(async () => {
  const text = (id) => document.getElementById(id).textContent;
  const packed = Uint8Array.from(atob(text("plotly")), (letter) => letter.charCodeAt(0));
  const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = document.createElement("script");
  script.textContent = source;
  document.head.append(script);
  for (const [name, figure] of Object.entries(JSON.parse(text("figures")))) {
    const place = document.querySelector(`[data-chart="${name}"] > div`);
    if (!place) continue;
    const live = document.createElement("div");
    await window.Plotly.newPlot(live, figure.data, figure.layout, { displayModeBar: false, responsive: false });
    place.replaceChildren(live);
  }
})().catch((error) => console.warn("The charts stay as drawings:", error));
