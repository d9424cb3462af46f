from fake_engine import serve_engine

if __name__ == "__main__":
    serve_engine()
