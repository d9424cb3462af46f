from fake_sglang import serve

if __name__ == "__main__":
    serve()
