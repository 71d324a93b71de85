// One figure becomes an SVG and, where a scale is given, a PNG of it. Defined once in kaleido's page, called for each chart.
window.drawFigure = async (figure, width, height, scale) => {
  const svg = await Plotly.toImage(figure, { format: "svg", width, height, imageDataOnly: true });
  if (!scale) return { svg };
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return { svg, png: canvas.toDataURL("image/png").split(",")[1] };
};
