from fake_router import serve_router

if __name__ == "__main__":
    serve_router()
