from fake_engine import serve_router

if __name__ == "__main__":
    serve_router()
