"""Styles that the theme settings cannot express: page width, readable contrast in both themes, and narrow screens."""

# light-dark() follows the color scheme that Streamlit sets. Every contrast is at least 4.5:1. Streamlit's own captions are
# the text color at reduced opacity, which is less.
STYLES = """<style>
.stMainBlockContainer { padding: 3.5rem clamp(1rem, 4vw, 4.5rem) 4rem; max-width: 90rem; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] :is(p, li, span, em, strong),
[data-testid="stMetricDeltaDescription"], [data-testid="stMetricDeltaDescription"] p {
  color: light-dark(#5b636b, #a3adb7); opacity: 1;
}
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primary"]:hover {
  background-color: light-dark(#0b6aa2, #1f6fa8); border-color: light-dark(#0b6aa2, #1f6fa8); color: #ffffff;
}
.st-key-drawer { position: fixed; z-index: 90; overflow-y: auto; background: light-dark(#ffffff, #11161c); padding: 1rem; }
@media (min-width: 1200px) {
  .st-key-drawer { top: 4.2rem; right: 0.8rem; bottom: 0.8rem; width: 23rem; }
  .stMain:has(.st-key-drawer) .stMainBlockContainer { padding-right: 25.5rem; }
}
@media (max-width: 1199px) {
  .st-key-drawer { left: 0; right: 0; bottom: 0; max-height: 36vh; }
  .stMain:has(.st-key-drawer) .stMainBlockContainer { padding-bottom: 40vh; }
}
.stPlotlyChart .modebar-container { visibility: hidden; } /* its buttons are below; here it hides the legend */
.stPlotlyChart:has(.modebar-btn[data-title="Close fullscreen"]) .modebar-container { visibility: visible; }
@media (min-width: 768px) {
  .st-key-phone_status, [data-testid="stLayoutWrapper"]:has(> .st-key-phone_status) { display: none; }
}
</style>"""
