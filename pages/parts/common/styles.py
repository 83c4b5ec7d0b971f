"""Styles that the theme settings cannot express: page width, readable contrast in both themes, and narrow screens."""

# light-dark() follows the color scheme that Streamlit sets. The contrasts are at least 4.5:1 on both backgrounds.
STYLES = """<style>
.stMainBlockContainer { padding: 3.5rem clamp(1rem, 4vw, 4.5rem) 4rem; max-width: 90rem; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: light-dark(#5b636b, #a3adb7); }
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primaryFormSubmit"] {
  background-color: light-dark(#0b6aa2, #1f6fa8); border-color: light-dark(#0b6aa2, #1f6fa8); color: #ffffff;
}
@media (min-width: 768px) { .st-key-phone_status { display: none; } }
</style>"""
